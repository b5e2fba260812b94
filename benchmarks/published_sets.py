"""How long published sets of relations take to read, at their true sizes.

``python benchmarks/published_sets.py`` writes files in the published forms with random content into
a temporary folder, reads each and prints a table; ``--part 0.1`` makes all of them so much smaller.
Images are files of a few bytes: readers hash them, and decode none.  The second reading finds their
hashes in the store; each is in a process of its own, whose memory is the most that it took.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

COLORS = ("red", "blue", "grey", "white", "black", "green", "cyan")
THINGS = ("cup", "table", "dog", "cat", "chair", "lamp", "bed", "car", "horse", "book", "plate")
NAMES = tuple(f"{color} {thing}" for color in COLORS for thing in THINGS)
PREDICATES = (
    "on",
    "next to",
    "behind",
    "in front of",
    "to the left of",
    "to the right of",
    "under",
)


def ends(rng: random.Random) -> tuple[str, str]:
    one, other = rng.sample(NAMES, 2)
    return one, other


def touch(folder: Path, names: list[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def vsr(folder: Path, rng: random.Random, part: float) -> dict[str, Any]:
    """10,972 captions of 6,259 images."""
    images = [f"{number:012d}.jpg" for number in range(round(6259 * part))]
    touch(folder, images)
    with (folder / "set.jsonl").open("w") as file:
        for _ in range(round(10972 * part)):
            (one, other), predicate = ends(rng), rng.choice(PREDICATES)
            image = rng.choice(images)
            file.write(json.dumps({
                "image": image, "image_link": f"http://images.cocodataset.org/train2017/{image}",
                "caption": f"The {one} is {predicate} the {other}.", "label": rng.randrange(2),
                "relation": predicate, "annotator_id": 1, "vote_true_validator_id": "[2, 10, 1]",
                "vote_false_validator_id": "[]", "reference_frame": None,
            }) + "\n")  # fmt: skip
    return {"file": str(folder / "set.jsonl"), "images": str(folder)}


def whatsup(folder: Path, rng: random.Random, part: float) -> dict[str, Any]:
    """440 of COCO's images with two captions each."""
    numbers = range(round(440 * part))
    touch(folder, [f"val2017/{number:012d}.jpg" for number in numbers])
    entries = [
        [number, *(f"A photo of a {one} {side} a {other}" for side in ("above", "below"))]
        for number in numbers
        for one, other in [ends(rng)]
    ]
    (folder / "set.json").write_text(json.dumps(entries))
    return {"file": str(folder / "set.json"), "images": str(folder)}


def spatialsense(folder: Path, rng: random.Random, part: float) -> dict[str, Any]:
    """17,498 statements on 11,569 images."""
    entries: list[dict[str, Any]] = []
    for number in range(round(11569 * part)):
        entries.append({
            "url": f"https://farm4.staticflickr.com/1/{number}.jpg", "nsid": "1@N", "height": 500,
            "width": 300, "split": rng.choice(("train", "valid", "test")), "annotations": [],
        })  # fmt: skip
    touch(folder, [f"flickr/{number}.jpg" for number in range(len(entries))])
    for number in range(round(17498 * part)):
        things = [
            {"name": name, "x": 5, "y": 5, "bbox": [0, rng.randrange(9, 99), 0, 50]}
            for name in ends(rng)
        ]
        rng.choice(entries)["annotations"].append({
            "_id": str(number), "predicate": rng.choice(PREDICATES), "subject": things[0],
            "object": things[1], "label": rng.random() < 0.5,
        })  # fmt: skip
    (folder / "set.json").write_text(json.dumps(entries))
    return {"file": str(folder / "set.json"), "images": str(folder)}


def clevr(folder: Path, rng: random.Random, part: float) -> dict[str, Any]:
    """70,000 scenes of 3 to 10 solids: the training part."""
    looks = {"shape": ("cube", "sphere", "cylinder"), "size": ("small", "large"),
             "material": ("rubber", "metal"), "color": COLORS}  # fmt: skip
    scenes = []
    for number in range(round(70_000 * part)):
        objects = [
            {**{key: rng.choice(values) for key, values in looks.items()}, "rotation": 1.5,
             "3d_coords": [rng.uniform(-3, 3), rng.uniform(-3, 3), 0.35], "pixel_coords": [1, 2, 3]}
            for _ in range(rng.randint(3, 10))
        ]  # fmt: skip
        related = {
            name: [
                [j for j, a in enumerate(objects)
                 if sign * (a["3d_coords"][axis] - b["3d_coords"][axis]) > 0.2]
                for b in objects
            ]
            for name, axis, sign in (("left", 0, -1), ("right", 0, 1), ("front", 1, -1),
                                     ("behind", 1, 1))
        }  # fmt: skip
        scenes.append({
            "split": "train", "image_index": number,
            "image_filename": f"CLEVR_train_{number:06d}.png",
            "objects": objects, "directions": {}, "relationships": related,
        })  # fmt: skip
    touch(folder, [scene["image_filename"] for scene in scenes])
    (folder / "set.json").write_text(json.dumps({"info": {}, "scenes": scenes}))
    return {"file": str(folder / "set.json"), "images": str(folder), "answers": "nearest"}


def boxes(folder: Path, rng: random.Random, part: float) -> dict[str, Any]:
    """COCO's instances of val2017: 36,781 boxes on 5,000 images."""
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES, 1)]
    images = [{"id": number, "file_name": f"{number:012d}.jpg", "width": 640, "height": 480}
              for number in range(round(5000 * part))]  # fmt: skip
    touch(folder, [image["file_name"] for image in images])
    annotations = []
    for number in range(round(36781 * part)):
        x, y = rng.uniform(0, 500), rng.uniform(0, 400)
        annotations.append({
            "id": number, "image_id": rng.choice(images)["id"], "area": 9.5, "iscrowd": 0,
            "category_id": rng.randint(1, len(NAMES)), "segmentation": [[1.5] * 30],
            "bbox": [x, y, rng.uniform(20, 140), rng.uniform(20, 80)],
        })  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "set.json").write_text(json.dumps(content))
    return {"file": str(folder / "set.json"), "images": str(folder)}


def visual_genome(folder: Path, rng: random.Random, part: float) -> dict[str, Any]:
    """2,316,104 relationships on 108,077 images; people typed the predicates, a few often and
    thousands once."""
    rare = [f"{word} {other} {n}" for word in PREDICATES for other in NAMES for n in range(60)]
    count = round(108_077 * part)
    with (folder / "set.json").open("w") as file:
        file.write("[")
        for number in range(count):
            links = []
            for _ in range(21 + (number % 7 < 3)):
                things = [{"object_id": rng.randrange(10**6), "name": name, "x": 1, "y": 2, "w": 3,
                           "h": 4, "synsets": [f"{name}.n.01"], "merged_object_ids": []}
                          for name in ends(rng)]  # fmt: skip
                typed = rng.choice(PREDICATES) if rng.random() < 0.9 else rng.choice(rare)
                links.append({"relationship_id": 7, "predicate": typed, "synsets": [],
                              "subject": things[0], "object": things[1]})  # fmt: skip
            separator = "" if number == 0 else ", "
            file.write(separator + json.dumps({"image_id": number, "relationships": links}))
        file.write("]")
    touch(folder, [f"VG_100K/{number}.jpg" for number in range(count)])
    return {"file": str(folder / "set.json"), "images": str(folder)}


def gqa(folder: Path, rng: random.Random, part: float) -> dict[str, Any]:
    """Scene graphs of the 74,942 images of GQA's training part, of 16 objects each."""
    count = round(74_942 * part)
    with (folder / "set.json").open("w") as file:
        file.write("{")
        for number in range(count):
            names = rng.sample(NAMES, 16)
            objects = {
                str(key): {
                    "name": name, "x": 5, "y": 5, "w": rng.randrange(40, 300),
                    "h": rng.randrange(40, 300), "attributes": ["red"],
                    "relations": [{"object": str(rng.randrange(16)), "name": rng.choice(PREDICATES)}
                                  for _ in range(3)],
                }
                for key, name in enumerate(names)
            }  # fmt: skip
            graph = {"width": 640, "height": 480, "location": "indoors", "objects": objects}
            file.write(f"{', ' if number else ''}{json.dumps(str(number))}: {json.dumps(graph)}")
        file.write("}")
    touch(folder, [f"{number}.jpg" for number in range(count)])
    return {"file": str(folder / "set.json"), "images": str(folder), "min_objects": 1,
            "max_relations": 100, "unambiguous": False}  # fmt: skip


def embspatial(folder: Path, rng: random.Random, part: float) -> dict[str, Any]:
    """3,640 questions with pictures of 40 kB, in parquet."""
    import pyarrow
    from pyarrow import parquet

    words = {"left": "left of", "under": "beneath", "close": "near"}
    rows = []
    for number in range(round(3640 * part)):
        one, other = ends(rng)
        picture, relation = f"{number}".encode() + bytes(40_000), rng.choice(tuple(words))
        rows.append({
            "question_id": f"mp3d_{number}", "relation": relation,
            "answer_options": [f"The {one} is {words[relation]} the {other}."], "answer": 0,
            "image": {"bytes": picture, "path": "x.jpg"},
            "objects": [{"name": one, "bbox": [1, 2, 3, 4]}, {"name": other, "bbox": [1, 2, 3, 4]}],
        })  # fmt: skip
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "set.parquet", row_group_size=500)
    return {"file": str(folder / "set.parquet")}


def spatialeval(folder: Path, rng: random.Random, part: float) -> dict[str, Any]:
    """4,635 questions with pictures of 150 kB, three about each, in parquet."""
    import pyarrow
    from pyarrow import parquet

    rows = []
    for number in range(round(4635 * part)):
        names = rng.sample(NAMES, 4)
        options = "\n".join(f"{letter}. {name}" for letter, name in zip("ABCD", names, strict=True))
        right = rng.randrange(4)
        rows.append({
            "id": f"spatialmap.vqa.{number // 3}.{number % 3}",
            "text": f"Please answer the question {number}. Available options:\n{options}.",
            "image": {"bytes": f"{number // 3}".encode() + bytes(150_000), "path": "x.png"},
            "oracle_answer": names[right], "oracle_option": "ABCD"[right],
            "oracle_full_answer": f"{'ABCD'[right]}. {names[right]}",
        })  # fmt: skip
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "set.parquet", row_group_size=500)
    return {"file": str(folder / "set.parquet")}


def omnispatial(folder: Path, rng: random.Random, part: float) -> dict[str, Any]:
    """1,533 questions on 1,387 pictures."""
    entries = []
    for number in range(round(1533 * part)):
        options = rng.sample(NAMES, rng.choice((2, 4)))
        entries.append({
            "id": f"{number % 1387}_{number // 1387}", "question": f"What is behind {number}?",
            "options": options, "answer": rng.randrange(len(options)),
            "task_type": "Complex_Logic", "sub_task_type": rng.choice(("Egocentric", "Motion")),
        })  # fmt: skip
    touch(folder, [f"Complex_Logic/{number}.png" for number in range(1387)])
    (folder / "data.json").write_text(json.dumps(entries))
    return {"file": str(folder / "data.json")}


SETS: tuple[Callable[[Path, random.Random, float], dict[str, Any]], ...] = (
    vsr, whatsup, spatialsense, clevr, boxes, visual_genome, gqa, embspatial,
    spatialeval, omnispatial,
)  # fmt: skip


def measured(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """What reading a set takes, in a process of its own."""
    code = (
        "import json, resource, sys, time\n"
        "from mfv_dsl.data import read_table\n"
        "name, options = json.loads(sys.argv[1])\n"
        "begun = time.process_time()\n"
        "table = read_table(name, **options)\n"
        "print(json.dumps({'seconds': time.process_time() - begun, 'items': sum(map(len, "
        "table.items.values())), 'dropped': sum(table.dropped.values()), "
        "'gigabytes': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "
        "'findings': [str(one) for one in table.findings if one.severity == 'error'][:3]}))"
    )
    command = [sys.executable, "-c", code, json.dumps([name, options])]
    result: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, capture_output=True).stdout
    )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", type=float, default=1.0, help="of the true sizes")
    parser.add_argument("--only", nargs="*", help="sets to measure")
    asked = parser.parse_args()
    titles = f"{'set':<15}{'items':>9}{'left out':>10}{'file, MB':>10}"
    print(f"{titles}{'processor, s':>14}{'again, s':>10}{'memory, GB':>12}")
    for write in SETS:
        if asked.only and write.__name__ not in asked.only:
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            options = write(folder, random.Random(0), asked.part)
            os.environ["MFV_HOME"] = str(folder / "store")
            size = Path(options["file"]).stat().st_size / 1e6
            first, again = (measured(write.__name__, options) for _ in range(2))
            assert not first["findings"], first["findings"]
            print(
                f"{write.__name__:<15}{first['items']:>9,}{first['dropped']:>10,}{size:>10.1f}"
                f"{first['seconds']:>14.1f}{again['seconds']:>10.1f}{first['gigabytes']:>12.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
