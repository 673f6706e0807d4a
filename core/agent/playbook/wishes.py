"""What a person's words mean to the playbook: a few plain wishes. What it cannot act on it says so, in a note."""

from __future__ import annotations

import re

_NUMBER = r"([0-9.]+(?:e-?[0-9]+)?)"
_LR = re.compile(r"(?:\blr|learning[- ]rate)\b\D{0,12}?" + _NUMBER, re.IGNORECASE)


class Wishes:
    """Everything a person has asked for so far."""

    def __init__(self) -> None:
        self.finish = False
        self.skip: set[str] = set()
        """Methods not to use: sft, grpo, rft."""
        self.lr: float | None = None
        self.no_ladder = False
        self.look_at_errors = False
        self.lora: bool | None = None
        self.unanswered: list[str] = []
        """Replies to be given as notes."""

    def hear(self, text: str) -> None:
        """Take in one message."""
        words = text.partition("):")[2].strip() if text.startswith("Message from the person") else text.strip()
        understood = self._understand(words.lower())
        if understood:
            self.unanswered.append(f"Heard {words!r}: {'; '.join(understood)}.")
        else:
            self.unanswered.append(f"Heard {words!r}. The playbook cannot act on that; an LLM brain could.")

    def _understand(self, words: str) -> list[str]:
        said: list[str] = []
        for method, names in (("grpo", "grpo|rl|reinforcement"), ("sft", "sft|supervised"), ("rft", "rejection")):
            if re.search(
                rf"\b(?:no|skip|without|avoid|stop(?: using)?|don't use|do not use)\s+(?:the\s+)?(?:{names})\b", words
            ):
                self.skip.add(method)
                said.append(f"no {method} from here on")
            elif re.search(rf"\bonly\s+(?:{names})\b", words):
                self.skip |= {"grpo", "sft", "rft"} - {method}
                said.append(f"only {method} from here on")
        if re.search(r"stop (?:the )?(?:tuning|searching|sweeping)|no (?:more )?(?:ladder|sweep|tuning)", words):
            self.no_ladder = True
            said.append("no more learning-rate trials")
        elif (found := _LR.search(words)) is not None:
            self.lr = float(found.group(1))
            said.append(f"learning rate {self.lr:g} for what follows")
        if re.search(r"wrong answers|errors|mistakes", words):
            self.look_at_errors = True
            said.append("the wrong answers are looked at before the next experiment")
        if re.search(r"\b(?:finish|wrap up|that'?s enough|stop now|stop here|end the run)\b", words):
            self.finish = True
            said.append("finishing after this step")
        if re.search(r"\bfull (?:weights|fine)", words):
            self.lora = False
            said.append("full weights")
        elif re.search(r"\b(?:use )?q?lora\b", words):
            self.lora = True
            said.append("LoRA adapters")
        return said
