"""The sentences that emulated answers are made of. Words only; what is said when is `text.py`'s business.

`{a}` and `{b}` stand for words of the question. Nothing here is true or false of any question: an emulated answer
has the length, the shape and the vocabulary of a real one, and no more.
"""

from __future__ import annotations

from typing import Final

OPENINGS: Final = (
    "In short, it depends on what you need {a} for, but there is a common answer.",
    "Good question. The main point is how {a} and {b} relate to each other.",
    "Yes, with one condition that concerns {a}.",
    "The usual way is to look at {a} first and at {b} second.",
    "There are two sides to this: {a}, which can be checked, and {b}, which has to be decided.",
    "The short version: start from {a} and leave {b} as it is.",
    "Going by what you wrote, {a} is the part that matters.",
    "Here is how I would go about it, step by step.",
)

SENTENCES: Final = (
    "Most people begin with {a}, because it is the part that can be changed without asking anybody.",
    "If {b} is already settled, the rest follows from it almost on its own.",
    "A simple check is to write down what you expect of {a} before you look at the result.",
    "That holds as long as nothing else changes at the same time.",
    "The exception is {b}: there the order is the other way round.",
    "You can test this in a few minutes and undo it if it does not fit.",
    "What is often overlooked is that {a} has a cost of its own, even when nobody uses it.",
    "For a small case the difference is hardly noticeable; it grows with the number of people involved.",
    "I would write it down in one sentence and show it to somebody who was not part of the discussion.",
    "Keep an eye on {b} during the first days, since that is where mistakes show first.",
    "The reason is that {a} and {b} are measured at different moments.",
    "A second opinion helps here, above all from someone who has done it before.",
    "When in doubt, choose the option that is easier to take back.",
    "There is no rule for {b} that fits every case, but the following works surprisingly often.",
    "Compare the two on one real example instead of on ten invented ones.",
    "It is worth asking who else depends on {a} before anything is moved.",
    "Taken together, this gives a clear picture of what happens and when.",
    "If the numbers look too good, {a} has probably been counted twice.",
    "The details differ from place to place, so please check the current rules as well.",
    "As a rule of thumb, allow a third more time than the first estimate says.",
    "Start small: one {a}, one week, one person who is responsible.",
    "After that, {b} can be handled in the same way.",
    "This also explains why the effect is stronger in the morning than in the evening.",
    "Nothing of this is urgent, but it does not become easier by waiting either.",
    "Once {a} is clear, the remaining questions are mostly about wording.",
    "In practice the two are kept apart, and a short note says which one is meant.",
)

CLOSINGS: Final = (
    "Let me know if you would like an example.",
    "If you tell me more about {a}, I can be more exact.",
    "That should cover the usual cases.",
    "I would leave the rest as it is for now.",
    "With that, {b} should no longer be a problem.",
)

RESULTS: Final = (
    "According to the result, {a} stands at {value}.",
    "The lookup came back with {value}, so {a} looks settled.",
    "I checked: the answer for {a} is {value}.",
    "The record says {value}, which means that nothing more has to be done about {a} today.",
)

SUMMARIES: Final = (
    "The text is about {a} and how it affects {b}.",
    "Its main finding concerns {a}; {b} plays a smaller part than expected.",
    "Several figures show that {a} has changed, while {b} stayed nearly the same.",
    "The authors draw a cautious conclusion and name what has to be done next.",
    "For those who depend on {b}, little changes before the date that is given.",
    "Costs and dates are stated, and one question is left open.",
)

THOUGHTS: Final = (
    "The question turns on {a}, so that comes first.",
    "Is {b} meant in the everyday sense here? Probably, since nothing else is said.",
    "Let me check whether {a} and {b} can both hold at once.",
    "If {a} were different, the answer would be the other way round.",
    "There may be a catch with {b}; it does not change the result.",
    "A short answer is better than a complete one here.",
    "I should not assume more about {a} than what was written.",
    "So far so good: {b} fits what was asked.",
)

PICTURES: Final = (
    "The picture is small and plain: mostly one colour, with {a} as the only thing that stands out.",
    "What can be seen is a simple shape; for {a} there is too little detail to be certain.",
    "The image shows a flat area with a clear edge, which would fit {a}.",
    "Going by the colours alone, {a} is more likely than {b}.",
)

TRANSLATIONS: Final[dict[str, tuple[str, ...]]] = {
    "german": (
        "Bitte beachten Sie die neuen Zeiten, die ab der kommenden Woche gelten.",
        "Wir bitten um Verständnis und melden uns, sobald es etwas Neues gibt.",
        "Änderungen sind bis Freitag möglich, danach gilt der Plan als beschlossen.",
    ),
    "french": (
        "Veuillez noter les nouveaux horaires valables à partir de la semaine prochaine.",
        "Nous vous remercions de votre patience et vous tiendrons au courant.",
        "Les modifications sont possibles jusqu'à vendredi.",
    ),
    "spanish": (
        "Tenga en cuenta el nuevo horario, válido a partir de la próxima semana.",
        "Le agradecemos su paciencia y le avisaremos en cuanto haya novedades.",
        "Se pueden hacer cambios hasta el viernes.",
    ),
    "italian": (
        "La preghiamo di tenere conto dei nuovi orari, validi dalla prossima settimana.",
        "La ringraziamo per la pazienza e la terremo al corrente.",
        "Le modifiche sono possibili fino a venerdì.",
    ),
    "portuguese": (
        "Tenha em atenção o novo horário, válido a partir da próxima semana.",
        "Agradecemos a sua paciência e daremos notícias assim que possível.",
        "As alterações são possíveis até sexta-feira.",
    ),
    "dutch": (
        "Let op de nieuwe tijden, die vanaf volgende week gelden.",
        "Wij danken u voor uw geduld en laten van ons horen zodra er nieuws is.",
        "Wijzigingen zijn mogelijk tot en met vrijdag.",
    ),
}

CODE: Final[dict[str, str]] = {
    "python": """def {name}(items: list[int]) -> list[int]:
    kept: list[int] = []
    for item in sorted(items):
        if not kept or item != kept[-1]:
            kept.append(item)
    return kept
""",
    "sql": """SELECT {name}, COUNT(*) AS total, MIN(created_at) AS first_seen
FROM orders
WHERE state = 'open'
GROUP BY {name}
ORDER BY total DESC;
""",
    "javascript": """async function {name}(url) {
  const reply = await fetch(url);
  if (!reply.ok) throw new Error(`status ${reply.status}`);
  return reply.json();
}
""",
    "go": """func {name}(values []int) float64 {
\tif len(values) == 0 {
\t\treturn 0
\t}
\tsum := 0
\tfor _, v := range values {
\t\tsum += v
\t}
\treturn float64(sum) / float64(len(values))
}
""",
    "rust": """fn {name}(text: &str) -> HashMap<&str, usize> {
    let mut counts = HashMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word).or_insert(0) += 1;
    }
    counts
}
""",
    "bash": """find . -type f -printf '%s %p\\n' | sort -rn | head -n 10 | while read -r size path; do
  printf '%s %s\\n' "$(numfmt --to=iec "$size")" "$path"
done  # {name}
""",
}

LANGUAGE_MARKS: Final[dict[str, str]] = {
    "sql": "sql",
    "select": "sql",
    "query": "sql",
    "javascript": "javascript",
    "typescript": "javascript",
    "fetch": "javascript",
    "css": "javascript",
    "func": "go",
    "rust": "rust",
    "borrow": "rust",
    "bash": "bash",
    "git": "bash",
    "makefile": "bash",
    "dockerfile": "bash",
    "python": "python",
    "def": "python",
    "pytest": "python",
    "function": "python",
    "code": "python",
    "regular": "python",
    "json": "python",
    "loop": "python",
}

_COMMON: Final = """
    about after again against also and another answer any are around because been before being below between both
    but can come could did does down each else even every following for from get give good had has have here how into
    its just keep let like long made make many may more most much must name need not now off once one only other our
    out over own please put same say set she should show since some still such take tell text than that the their them
    then there these they this those three through too two under until upon use used user very was way were what when
    where which while who whom why will with within without would write you your
"""

COMMON_WORDS: Final = frozenset(_COMMON.split())
"""Words that say nothing of what a question is about."""
