"""The SQL vocabulary of the data part: the table `rows` and the macros that give texts their normal forms.

Expressions that take and replace single blanks by a regular expression are three times slower than those that leave blanks
to string functions (a match a word): hence `bare_words` takes out only what is neither letter, digit nor blank.
"""

from __future__ import annotations

_ROLE_NAMES = "role VARCHAR, content VARCHAR"
_TURN_SHAPE = '[{"role":"VARCHAR","from":"VARCHAR","content":"VARCHAR","value":"VARCHAR","tool_calls":"VARCHAR"}]'
_CALL_SHAPE = '[{"function":{"name":"VARCHAR","arguments":"JSON"},"name":"VARCHAR","arguments":"JSON"}]'
MACROS = (
    r"""
CREATE MACRO ragged(t) AS contains(t, '  ') OR contains(t, chr(10)) OR contains(t, chr(9)) OR contains(t, chr(13))
    OR contains(t, chr(12)) OR starts_with(t, ' ') OR ends_with(t, ' ');
CREATE MACRO squeeze(t) AS CASE WHEN ragged(t)
    THEN trim(regexp_replace(nfc_normalize(t), '\s+', ' ', 'g')) ELSE nfc_normalize(t) END;
CREATE MACRO wordy(t) AS length(t) >= 16 AND regexp_matches(t,
'\p{L}{2,}\P{L}+\p{L}{2,}\P{L}+\p{L}{2,}\P{L}+\p{L}{2,}');
CREATE MACRO same_text(t) AS CASE WHEN wordy(t) THEN regexp_replace(lower(squeeze(t)), '[\s.,;:!?]+$', '')
    ELSE squeeze(t) END;
CREATE MACRO bare_words(t) AS list_filter(string_split(regexp_replace(lower(t), '[^\p{L}\p{N} ]+', ' ', 'g'), ' '),
    lambda x: x <> '');
CREATE MACRO final_part(t) AS CASE WHEN contains(t, '####') THEN trim(regexp_extract(t, '(?s).*####(.*)$', 1))
    WHEN contains(t, '\boxed{') THEN trim(regexp_extract(t, '(?s).*\\boxed\{([^{}]*)\}', 1)) ELSE t END;
CREATE MACRO same_answer(t) AS CASE WHEN t LIKE '{%' AND json_valid(t) THEN json(t)::VARCHAR
    ELSE lower(squeeze(final_part(t))) END;
CREATE MACRO role_of(r) AS CASE lower(r) WHEN 'human' THEN 'user' WHEN 'gpt' THEN 'assistant' WHEN 'bot' THEN
    'assistant' WHEN 'model' THEN 'assistant' WHEN 'ai' THEN 'assistant' ELSE lower(r) END;
CREATE MACRO parts_text(t) AS CASE WHEN t LIKE '[{%%"type"%%' AND json_valid(t) THEN array_to_string(list_filter(
    list_transform(json_transform(t, '[{"text":"VARCHAR"}]'), lambda p: p.text), lambda x: x IS NOT NULL), chr(10)) ELSE t END;
CREATE MACRO call_text(name, given) AS '<tool_call>' || chr(10) || '{"name": ' || to_json(name) || ', "arguments": ' ||
    coalesce(CASE WHEN json_type(given) = 'VARCHAR' THEN given ->> '$' ELSE given::VARCHAR END, '{}') || '}' || chr(10) ||
    '</tool_call>';
CREATE MACRO calls_text(t) AS CASE WHEN t LIKE '[{%%' AND json_valid(t) THEN array_to_string(list_transform(
    json_transform(t, '%c'), lambda c: call_text(coalesce(c."function".name, c.name), coalesce(c."function".arguments,
    c.arguments))), chr(10)) END;
CREATE MACRO said(content, calls) AS CASE WHEN calls IS NULL THEN parts_text(content)
    ELSE concat_ws(chr(10), nullif(parts_text(content), ''), calls_text(calls)) END;
CREATE MACRO turns_of(t) AS list_transform(json_transform(t, '%s'), lambda m: {'role': role_of(coalesce(m.role, m."from")),
    'content': said(coalesce(m.content, m.value), m.tool_calls)});
CREATE MACRO is_chat(t) AS t LIKE '[%%{%%' AND json_valid(t);
CREATE MACRO contents(turns) AS array_to_string(list_filter(list_transform(turns, lambda m: m.content), lambda c: c IS
NOT NULL),
    chr(10));
CREATE MACRO flat(t) AS CASE WHEN is_chat(t) AND contents(turns_of(t)) <> '' THEN contents(turns_of(t)) ELSE t END;
CREATE MACRO found_in(t) AS CASE WHEN t LIKE '{"text":[%%"answer_start"%%' AND json_valid(t) THEN t ->> '$.text[0]' ELSE t END;
CREATE MACRO is_transcript(t) AS t LIKE '%%Human: %%' AND contains(t, chr(10) || chr(10) || 'Assistant:');
CREATE MACRO reply(t) AS CASE WHEN is_chat(t) THEN list_last(turns_of(t)).content
    WHEN is_transcript(t) THEN trim(list_last(string_split(t, chr(10) || chr(10) || 'Assistant:'))) ELSE t END;
CREATE MACRO before_reply(t) AS CASE WHEN is_chat(t) THEN nullif(contents(turns_of(t)[:-2]), '')
    WHEN is_transcript(t) THEN trim(regexp_replace(array_to_string(string_split(t, chr(10) || chr(10) || 'Assistant:')[:-2],
        chr(10) || chr(10) || 'Assistant:'), '^\s*Human: ', '')) END;
""".replace("%s", _TURN_SHAPE)
    .replace("%c", _CALL_SHAPE)
    .replace("%%", "%")
)
ROWS = f"""CREATE TABLE rows (n BIGINT, source INTEGER, line BIGINT, split VARCHAR, prompt VARCHAR, answer VARCHAR,
    turns STRUCT({_ROLE_NAMES})[], chosen VARCHAR, rejected VARCHAR, system VARCHAR, licence VARCHAR,
    pkey UBIGINT, akey UBIGINT)"""
