"""Questions and the same questions in other words."""

from __future__ import annotations

PAIRS = [
    (
        "A train leaves the station at 9 in the morning and travels 240 kilometres at a constant speed of 80 kilometres an hour. When does it arrive?",
        "At 9 a.m. a train sets off; moving steadily at 80 km per hour it has 240 km to cover. What is its time of arrival?",
    ),
    (
        "Which organ of the human body is responsible for filtering waste products out of the blood?",
        "What part of our body cleans the blood by removing waste from it?",
    ),
    (
        "Name the chemical element that has the symbol Fe and explain where its symbol comes from.",
        "Fe is the symbol of which element, and what is the origin of that abbreviation?",
    ),
    (
        "Why do leaves change their colour in autumn before they fall from the trees?",
        "What makes foliage turn different colors in the fall prior to dropping?",
    ),
    (
        "Tom has 12 apples. He gives a third of them to his sister and eats two. How many apples are left?",
        "After handing one third of his 12 apples to his sister and eating 2 more, how many does Tom still have?",
    ),
    (
        "Write a function in Python that returns the longest word of a sentence.",
        "Implement a Python function which, given a sentence, gives back its longest word.",
    ),
    (
        "What are the main differences between a virus and a bacterium?",
        "How do bacteria and viruses chiefly differ from one another?",
    ),
    (
        "A patient presents with sudden chest pain radiating to the left arm and shortness of breath. What is the most likely diagnosis?",
        "Someone comes in suffering abrupt pain in the chest that spreads into the left arm, and is breathless. Which condition is most probable?",
    ),
    (
        "Who painted the ceiling of the Sistine Chapel, and how long did the work take?",
        "Which artist decorated the Sistine Chapel's ceiling and how many years did he need?",
    ),
    (
        "Explain in simple words how a vaccine protects a person from a disease.",
        "In plain language, describe the way vaccination keeps people from getting ill.",
    ),
    (
        "A rectangle is three times as long as it is wide, and its perimeter is 64 metres. Find its area.",
        "The length of a rectangle is triple its width. If the perimeter measures 64 m, what is the area?",
    ),
    (
        "Translate the sentence 'The weather is lovely today' into French and into German.",
        "How would you say 'The weather is lovely today' in German and French?",
    ),
    (
        "What happens to the price of a good when demand rises while supply stays the same?",
        "If supply is unchanged but demand goes up, how does the good's price react?",
    ),
    (
        "Describe the causes of the First World War and name the event that triggered it.",
        "What led to World War I, and which incident set it off?",
    ),
    (
        "Sort the following list of numbers in ascending order without using a built-in function.",
        "Without built-in helpers, arrange this list of numbers from smallest to largest.",
    ),
    (
        "Which planet in our solar system has the most moons, and how many does it have?",
        "How many moons does the planet with the most of them in the solar system possess, and which one is it?",
    ),
]
