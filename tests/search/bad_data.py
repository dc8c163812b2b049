"""Data that cannot be used: files, what the experiment says of them, and the expected error message."""

# ruff: noqa: E501 - in a table of cases each case is a line

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from autoopt.strategies import saving
from tests import tiny, tiny_decoder

Content = str | bytes
TEXTS = [f"text {number}" for number in range(40)]
GOOD = "text,label\n" + "".join(f"{text},{'ab'[number % 2]}\n" for number, text in enumerate(TEXTS))
PAIRS = "premise,hypothesis,label\n" + "".join(f"{t},other {t},{'ab'[n % 2]}\n" for n, t in enumerate(TEXTS))
NUMBERS = "premise,hypothesis,score\n" + "".join(f"{t},other {t},{n / 8}\n" for n, t in enumerate(TEXTS))
CONLL = "".join(f"Anna\tB-PER\nsaw\tO\nx{number}\tO\n\n" for number in range(40))
TAGGED = "".join(json.dumps({"tokens": ["Anna", text], "tags": ["B-PER", "O"]}) + "\n" for text in TEXTS)


@dataclass(frozen=True)
class BadData:
    """Files, what the experiment says of them, and a pattern of the error message with place and remedy."""

    message: str
    files: Mapping[str, Content] = field(default_factory=dict)
    """By the path in the experiment's folder; the first one is the source where ``data`` names none."""
    data: Mapping[str, Any] = field(default_factory=dict)
    task: Any = "text_classification"
    make: Callable[[Path], None] = lambda folder: None
    """Whatever else is to be on the disk."""

    def write(self, folder: Path, *, models: Path) -> Path:
        """Write the data and an experiment on it, and return the experiment's file. ``write_models`` made ``models``."""
        folder.mkdir(parents=True)
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        self.make(folder)
        source = {} if {"source", "train"} & set(self.data) else {"source": next(iter(self.files), "data")}
        model = str(models / ("decoder" if self.task == "causal_lm" else "encoder"))
        experiment = {"study": "bad", "model": model, "task": self.task, "data": {**source, **self.data}}
        path = folder / "bad.yaml"
        path.write_text(yaml.safe_dump(experiment), encoding="utf-8")
        return path


def write_models(folder: Path) -> Path:
    """Write an encoder and a decoder as a person would have them, and return the folder of both."""
    tiny_decoder.save(folder / "decoder")
    saving.save(tiny.candidate(), folder / "encoder")
    (folder / "encoder" / saving.DESCRIPTION).unlink()
    (folder / "encoder" / saving.MANIFEST).unlink()
    return folder


def csv_case(message: str, more: Content, **others: Any) -> BadData:
    """Good rows with something bad after them: line 42 is the first bad one."""
    bad = more.encode() if isinstance(more, str) else more
    return BadData(message, {"a.csv": GOOD.encode() + bad}, **others)


def tagged_case(message: str, more: str) -> BadData:
    return BadData(message, {"a.conll": CONLL + more}, task="token_classification")


def squad(*questions: Mapping[str, Any], context: str = "Paris is in France.") -> str:
    article = {"title": "t", "paragraphs": [{"context": context, "qas": list(questions)}]}
    return json.dumps({"version": "1.1", "data": [article]})


def question(text: Any = "Paris", start: Any = 0, **changes: Any) -> dict[str, Any]:
    return {"id": "1", "question": "Which town?", "answers": [{"text": text, "answer_start": start}], **changes}


def answers_case(message: str, content: str) -> BadData:
    return BadData(message, {"a.json": content}, task="question_answering")


def arrow(stream: bool = False) -> bytes:
    import pyarrow

    table = pyarrow.table({"text": TEXTS, "label": ["ab"[number % 2] for number in range(len(TEXTS))]})
    sink = pyarrow.BufferOutputStream()
    with (pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def parquet(names: tuple[str, str] = ("text", "label")) -> bytes:
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    columns = [pyarrow.array(TEXTS), pyarrow.array(["ab"[number % 2] for number in range(len(TEXTS))])]
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(columns, names=list(names)), sink)
    return bytes(sink.getvalue())


def way_out(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / "data" / name).mkdir(parents=True)
        (folder / "data" / name / "1.txt").write_text("text", encoding="utf-8")
    (folder / "secret.txt").write_text("secret", encoding="utf-8")
    (folder / "data" / "b" / "2.txt").symlink_to(folder / "secret.txt")


def huge_row(folder: Path) -> None:
    with (folder / "a.csv").open("wb") as file:
        file.write(GOOD.encode())
        for _ in range(100):
            file.write(b"x" * 1_000_000)


def hole(folder: Path) -> None:
    with (folder / "a.txt").open("wb") as file:
        file.truncate(5_000_000_000)  # A hole of zeros: large to read, small on the disk.


CASES: dict[str, BadData] = {
    # The bytes of a file
    "an empty file": BadData(r"a.csv is empty; it must hold a header", {"a.csv": ""}),
    "a header only": BadData(r"a.csv has a header and no rows; it needs", {"a.csv": "text,label\n"}),
    "blank lines only": BadData(r"a.csv:1: the first line is empty; it must name the columns", {"a.csv": "\n\n"}),
    "latin-1": csv_case(r"a.csv:42: byte \d+ \(0xe9\) is not UTF-8; save", b"caf\xe9,a\n"),
    "latin-1 after a byte order mark": BadData(r"a.csv:42: byte \d+ \(0xe9\) is not UTF-8", {"a.csv": b"\xef\xbb\xbf" + GOOD.encode() + b"caf\xe9,a\n"}),
    "utf-16": BadData(r"a.csv:1: byte 0 begins a UTF-16 file; save it as UTF-8", {"a.csv": GOOD.encode("utf-16")}),
    "utf-16 without mark": BadData(r"a.csv:1: byte 1 is NUL; .*save it as UTF-8", {"a.csv": GOOD.encode("utf-16-le")}),
    "a NUL byte": csv_case(r"a.csv:42: byte \d+ is NUL; this is no text file", "x\0y,a\n"),
    "a row of 100 MB": BadData(r"a.csv:42: the line is longer than 1,000,000 bytes; shorten or split", data={"source": "a.csv"}, make=huge_row),
    "a file of 5 GB": BadData(r"a.txt has 5,000,000,000 bytes; at most 4,000,000,000 are read: take a sample", data={"source": "a.txt"}, make=hole),
    # Tables with a delimiter
    "a quote that nobody closes": csv_case(r"a.csv:42: unexpected end of data .*close the quote", '"one,a\n'),
    "a quote that swallows the file": csv_case(r"a.csv:42: the record that begins here is longer than 1,000,000", '"one,a\n' + "some text,b\n" * 100_000, data={"tolerate": 0}),
    "too many fields": csv_case(r"a.csv:42: 3 fields where the header has 2; put quotes", "one, two,a\n"),
    "too few fields": csv_case(r"a.csv:42: 1 fields where the header has 2", "one\n"),
    "semicolons": BadData(r"a.csv:1: the columns are separated by ';'; save the file with commas", {"a.csv": GOOD.replace(",", ";")}),
    "a column twice": BadData(r"a.csv:1: the header has the column 'text' more than once; rename", {"a.csv": "text,label,text\na,b,c\n"}),
    "a ragged tsv": BadData(r"a.tsv:2: 3 fields where the header has 2", {"a.tsv": "text\tlabel\none\ttwo\ta\n"}),
    # Columns and labels
    "no column of texts": BadData(r"no column that is known to hold texts; its columns are 'words', 'mood'; name one", {"a.csv": "words,mood\na,b\n"}),
    "no column of labels": BadData(r"no column that is known to hold labels; its columns are 'text', 'mood'; name one", {"a.csv": "text,mood\na,b\n"}),
    "a column that is misspelt": csv_case(r"no column 'lable', which data.label names; did you mean 'label'\?", "", data={"label": "lable"}),
    "one class only": BadData(r"a.csv .*has one class only \('a' in all 2 rows\).*add examples", {"a.csv": "text,label\none,a\ntwo,a\n"}),
    "a class with one example": csv_case(r"1 example of the class 'c', too few for .*; add examples, or write 'rare: drop' under data", "one,c\n"),
    "NaN for a label": csv_case(r"a.csv:42: the column 'label' has no label; fill it in.*\(1 of 41 rows, and data.tolerate leaves out 1% at most\)", "one,NaN\n"),
    "NaN for a label in JSON": BadData(r"a.jsonl:1: the column 'label' has no label; fill it in.*\(1 of 2 rows", {"a.jsonl": '{"text": "a", "label": NaN}\n{"text": "b", "label": "b"}\n'}),
    "labels that are texts": BadData(r"has 40 different labels in 40 rows, which does not look like classes.*choose another", {"a.csv": "text,label\n" + "".join(f"{t},about {t}\n" for t in TEXTS)}),
    "texts that are numbers": BadData(r"a.jsonl:1: the column 'text' holds 5 \(int\), no text; choose", {"a.jsonl": '{"text": 5, "label": "a"}\n'}),
    "texts that are all blank": BadData(r"a.csv:2: the column 'text' is blank in 9 of 9 rows.*fill them in", {"a.csv": "text,label\n" + " ,a\n" * 9}),
    "a label over two lines": csv_case(r"a.csv:42: the label 'a\\nb' in the column 'label' holds a control character", 'one,"a\nb"\n'),
    "a terminal escape in a label": csv_case(r"a.csv:42: the label '\\x1b\[31mred' .* holds a control character", "one,\x1b[31mred\n"),
    "half a character": BadData(r"a.jsonl:1: .*half of a character at place 2: the lone surrogate \\ud800; remove it", {"a.jsonl": '{"text": "a\\ud800", "label": 1}\n'}),
    # Settings that the data does not fit
    "more than there is": csv_case(r"40 usable examples, and the split asks for .* = 50; lower the numbers", "", data={"split": {"train": 30, "validation": 10, "test": 10}}),
    "a split smaller than the classes": csv_case(r"test split of 1 cannot hold one example of each; raise data.split.test to 2", "", data={"split": {"test": 1}}),
    "more unlabeled texts than there are": csv_case(r"there are 28 unlabeled texts .* data.split.unlabeled asks for 29; lower it", "", data={"split": {"unlabeled": 29}}),
    "a class that training lacks": BadData(r"other.csv:3: the class 'bb' \(1 rows of test\) does not occur in the training .*did you mean 'b'\?", {"good.csv": GOOD, "other.csv": "text,label\none,a\ntwo,bb\n"}, {"train": "good.csv", "test": "other.csv"}),
    "validation that is the test again": BadData(r"the validation data has no usable rows; give another file", {"good.csv": GOOD, "x.csv": "text,label\none,a\ntwo,b\n"}, {"train": "good.csv", "validation": "x.csv", "test": "x.csv"}),
    "more of a given file than it has": BadData(r"the test data has 2 usable examples, and the split asks for 3 test", {"good.csv": GOOD, "x.csv": "text,label\none,a\ntwo,b\n"}, {"train": "good.csv", "test": "x.csv", "split": {"test": 3}}),
    "unlabeled data without texts": BadData(r"numbers.csv has no column that is known to hold texts", {"good.csv": GOOD, "numbers.csv": "x,y\n1,2\n"}, {"source": "good.csv", "unlabeled": "numbers.csv"}),
    "a missing file": BadData(r"there is no god.csv in .*; did you mean 'good.csv'\?", {"good.csv": GOOD}, {"source": "god.csv"}),
    "a missing folder": BadData(r"there is no folder .*nowhere; write the path of the data", {"good.csv": GOOD}, {"source": "nowhere/good.csv"}),
    "a path that no file can have": BadData(r"there is no x+.csv in .*; it holds bad.yaml, good.csv", {"good.csv": GOOD}, {"source": "x" * 300 + ".csv"}),
    "a score that does not fit": csv_case(r"task.metric: 'f1' does not fit these labels", "one,c\ntwo,c\nthree,c\n", task={"name": "text_classification", "metric": "f1"}),
    # JSON
    "a line that is no JSON": BadData(r"a.jsonl:2: no JSON at character \d+: .*; each line must be one JSON object", {"a.jsonl": '{"text": "a", "label": 1}\n{"text": \n'}),
    "a key twice": BadData(r"a.jsonl:1: .*the key 'text' occurs twice", {"a.jsonl": '{"text": "a", "text": "b", "label": 1}\n'}),
    "JSON lines nested without end": BadData(r"a.jsonl:1: this JSON cannot be read: .*flat JSON object", {"a.jsonl": '{"text": ' + "[" * 100_000 + "\n"}),
    "a document that is no JSON": BadData(r"a.json:1: no JSON: .* the file must be a list of flat objects", {"a.json": GOOD}),
    "a document that is cut short": BadData(r"a.json:3: no JSON.*the file must be a list", {"a.json": '[{"text": "a", "label": 1},\n{"text": "b", "label": 2},\n{"te'}),
    "a document nested without end": BadData(r"a.json:2: the JSON that begins here cannot be read: .*recursion", {"a.json": "[\n" + "[" * 100_000}),
    "a document with a key twice": BadData(r"a.json:2: .*the key 'text' occurs twice", {"a.json": '[\n{"text": "a", "text": "b"}]'}),
    "a document without records": BadData(r"a.json:1: a JSON object that has 'text', 'label' and no list 'data'", {"a.json": '{"text": ["a"], "label": ["b"]}'}),
    # Packed files and others' formats
    "gzip that is cut short": BadData(r"a.csv.gz:\d+: the gzip file is cut short or damaged here.*copy it or pack it again", {"a.csv.gz": gzip.compress(GOOD.encode())[:-9]}),
    "gzip that is damaged": BadData(r"a.csv.gz:\d+: the gzip file is cut short or damaged here", {"a.csv.gz": gzip.compress(GOOD.encode())[:-6] + b"\0\0\0\0\0\0"}),
    "gzip that is none": BadData(r"a.csv.gz: byte 0 begins no gzip file; remove .gz", {"a.csv.gz": GOOD}),
    "a gzip bomb": BadData(r"a.csv.gz unpacks to more than 200 times its size", {"a.csv.gz": gzip.compress(b"text,label\n" + b"a,b\n" * 5_000_000)}),
    "a bad line in gzip": BadData(r"a.csv.gz:42: 1 fields where the header has 2", {"a.csv.gz": gzip.compress(GOOD.encode() + b"one\n")}),
    "latin-1 in gzip": BadData(r"a.csv.gz:42: byte \d+ \(0xe9\) is not UTF-8", {"a.csv.gz": gzip.compress(GOOD.encode() + b"caf\xe9,a\n")}),
    "gzip under another name": BadData(r"a.csv:1: byte 0 begins a file packed with gzip; let its name end in .gz", {"a.csv": gzip.compress(GOOD.encode())}),
    "arrow that is cut short": BadData(r"a.arrow cannot be read as Arrow: .*write it again", {"a.arrow": arrow()[:-300]}),
    "an arrow stream that is cut short": BadData(r"a.arrow cannot be read as Arrow: .*write it again", {"a.arrow": arrow(stream=True)[:300]}),
    "arrow that is none": BadData(r"a.feather cannot be read as Arrow: ", {"a.feather": GOOD}),
    "parquet that is cut short": BadData(r"a.parquet cannot be read as parquet: .*; write it again, or give csv", {"a.parquet": parquet()[:-100]}),
    "parquet with a column twice": BadData(r"a.parquet: the column 'text' occurs more than once; rename", {"a.parquet": parquet(("text", "text"))}),
    "a spreadsheet": BadData(r"a.xlsx has an unsupported format; convert it to one of .arrow, .bio", {"a.xlsx": b"PK\x03\x04"}),
    "a spreadsheet under another name": BadData(r"a.csv:1: byte 0 begins a zip archive or a spreadsheet; save the table", {"a.csv": b"PK\x03\x04" + GOOD.encode()}),
    "a zip archive": BadData(r"a.zip has an unsupported format; convert", {"a.zip": b"PK\x03\x04"}),
    "a pickle": BadData(r"a.pkl has an unsupported format; convert", {"a.pkl": pickle.dumps({"text": ["a"]})}),
    "a pickle under another name": BadData(r"a.csv:1: byte 0 begins a pickle, which is never read; save the data as csv", {"a.csv": pickle.dumps({"text": ["a"]})}),
    # Folders
    "a folder without class folders": BadData(r"data holds notes.md, and no data that can be read; a folder of data holds", {"data/notes.md": "x"}, {"source": "data"}),
    "a class folder without texts": BadData(r"sports holds a.md, and no .txt files, one for each text of the class 'sports'; a folder", {"data/sports/a.md": "x"}, {"source": "data"}),
    "a folder of one class": BadData(r"has one class only \('sports' in all 1 rows\)", {"data/sports/1.txt": "goal"}, {"source": "data"}),
    "a link out of the folder": BadData(r"b/2.txt is a link that leads out of .*; put the file itself there", data={"source": "data"}, make=way_out),
    "two files for one split": BadData(r"train.csv and train.tsv, which would both be the train data; keep one", {"data/train.csv": GOOD, "data/train.tsv": GOOD}, {"source": "data"}),
    # Pairs of texts
    "one text where there should be two": csv_case(r"one column of texts, 'text', and this task needs two; .*name the other one", "", task="sentence_pair"),
    "a pair without its second text": BadData(r"a.csv:2: the column 'premise' is blank in 9 of 9 rows", {"a.csv": "premise,hypothesis,label\n" + "one,,a\n" * 9}, task="sentence_pair"),
    "a pair without a label": BadData(r"a.csv:42: the column 'label' has no label; fill it in.*\(1 of 41 rows", {"a.csv": PAIRS + "one,two,\n"}, task="sentence_pair"),
    "a word among numbers": BadData(r"a.csv:42: the column 'score' holds 'high', no finite number; choose", {"a.csv": NUMBERS + "one,two,high\n"}, {"label": "score"}, task={"name": "sentence_pair", "metric": "pearson"}),
    "an endless number": BadData(r"a.csv:42: the column 'score' holds '1e999', no finite number", {"a.csv": NUMBERS + "one,two,1e999\n"}, {"label": "score"}, task={"name": "sentence_pair", "metric": "pearson"}),
    "the same number everywhere": BadData(r"has the same number, 1.5, in all 2 rows; nothing can be learned", {"a.csv": "premise,hypothesis,score\na,b,1.5\nc,d,1.5\n"}, {"label": "score"}, task="sentence_pair"),
    # Tagged words
    "a tag without a type": tagged_case(r"a.conll:161: .*'B-'; a tag is 'O', a type such as 'PER'", "Anna\tB-\n"),
    "a ragged line of CoNLL": tagged_case(r"a.conll:162: 3 columns where other lines have 2; give each line", "Anna\tB-PER\nwas\tO\tO\n"),
    "a word without its tag": tagged_case(r"a.conll:161: the word 'Anna' has no tag; write its tag behind it", "Anna\n"),
    "CoNLL that is blank": BadData(r"a.conll holds no sentence; it needs a line with a word and its tag", {"a.conll": "\n\n"}, task="token_classification"),
    "CoNLL without entities": BadData(r"has no entities: all 3 words have the tag 'O'; choose another column", {"a.conll": "a\tO\n\nb\tO\n\nc\tO\n"}, task="token_classification"),
    "latin-1 in CoNLL": BadData(r"a.conll:161: byte \d+ \(0xe9\) is not UTF-8", {"a.conll": CONLL.encode() + b"caf\xe9\tO\n"}, task="token_classification"),
    "CoNLL in gzip that is cut short": BadData(r"a.conll.gz:\d+: the gzip file is cut short", {"a.conll.gz": gzip.compress(CONLL.encode())[:-9]}, task="token_classification"),
    "more tags than words": BadData(r"a.jsonl:41: 1 words in the column 'tokens' and 2 tags in 'tags'; give each word one", {"a.jsonl": TAGGED + '{"tokens": ["a"], "tags": ["O", "O"]}\n'}, task="token_classification"),
    "words that are no list": BadData(r"a.jsonl:1: the column 'tokens' holds 'a b' \(str\), no list; choose", {"a.jsonl": '{"tokens": "a b", "tags": ["O", "O"]}\n'}, task="token_classification"),
    "a tag that training lacks": BadData(r"x.conll:1: the class 'B-LOC' \(1 rows of test\) does not occur in the training", {"a.conll": CONLL, "x.conll": "Rome\tB-LOC\n"}, {"train": "a.conll", "test": "x.conll"}, task="token_classification"),
    # Text that goes on
    "running text that is blank": BadData(r"a.txt has .* no rows", {"a.txt": "\n\n \n"}, task="causal_lm"),
    "latin-1 in running text": BadData(r"a.txt:3: byte \d+ \(0xe9\) is not UTF-8", {"a.txt": b"one\n\ncaf\xe9\n"}, task="causal_lm"),
    "running text in gzip that is cut short": BadData(r"a.txt.gz:\d+: the gzip file is cut short", {"a.txt.gz": gzip.compress(GOOD.encode())[:-9]}, task="causal_lm"),
    "a dialogue that is none": BadData(r"a.jsonl:1: the column 'messages' holds 5, no dialogue; write a list of messages", {"a.jsonl": '{"messages": 5}\n'}, task="causal_lm"),
    # Questions and answers
    "an answer that is not in its context": answers_case(r"a.json: data\[0\].paragraphs\[0\].qas\[0\]: the answer 'Rome' does not occur in its context; correct", squad(question("Rome"))),
    "an answer that begins outside": answers_case(r"qas\[0\]: the answer 'Paris' starts at 99, outside the context of 19 characters; correct", squad(question(start=99))),
    "an answer that begins before": answers_case(r"qas\[0\]: the answer 'Paris' starts at -1, outside the context", squad(question(start=-1))),
    "an answer without a place": answers_case(r"qas\[0\]: the answer 'Paris' starts at None; 'answer_start' is the number of characters", squad(question(start=None))),
    "an answer without text": answers_case(r"qas\[0\]: the column 'answers' has an answer without text; write it", squad(question(""))),
    "answers that are misplaced": answers_case(r"qas\[0\]: the answer's text is not at its start in the context, and so in 1 of 1", squad(question("France", 2))),
    "a question without text": answers_case(r"qas\[0\]: 'question' is 7 where a text is needed; the form is", squad(question(question=7))),
    "an article without paragraphs": answers_case(r"a.json: data\[1\].paragraphs holds nothing where a list is needed; the form", json.dumps({"data": [{"paragraphs": []}, {}]})),
    "impossible, with an answer": answers_case(r"qas\[0\]: 'is_impossible' is true, and the question has 1 answers; remove", squad(question(is_impossible=True))),
    "one article for three splits": answers_case(r"has 1 groups of examples that belong together, too few .*give the splits as files", squad(question(), question(question="Where?"))),
    "questions without answers": BadData(r"a.jsonl has no column that is known to hold answers; its columns are 'question', 'context'; name", {"a.jsonl": '{"question": "a", "context": "b"}\n'}, task="question_answering"),
}  # fmt: skip

HOSTILE = "\x1b]0;owned\x07\x1b[31m.csv"
"""A file name that sets a window's title and colours what follows."""
CASES["a terminal escape in a file name"] = BadData(r"\.csv:2: 3 fields", {HOSTILE: "text,label\na,b,c\n"})
CASES["a terminal escape in a column"] = BadData(r"a.csv has no column that is known to hold texts; its columns are '\\x1b\[31mred', 'label'", {"a.csv": "\x1b[31mred,label\na,b\n"})  # fmt: skip
CASES["a terminal escape in a folder"] = BadData(r"\[31mred holds a.md, and no \.txt files", {"data/\x1b[31mred/a.md": "x"}, {"source": "data"})  # fmt: skip
