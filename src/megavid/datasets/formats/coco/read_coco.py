"""Read CocoVID and COCO annotations.

CocoVID adds `videos` to COCO's JSON, `video_id` and `frame_id` to images, and `instance_id` or `track_id` to
objects. In plain COCO, every image is read as a video of one frame. The exception is frames that Roboflow
extracted from a video, which are joined again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from megavid.core.errors import InputError
from megavid.core.files.json_yaml import read_json
from megavid.core.files.paths import is_file
from megavid.datasets.formats.class_names import check_class_count, class_name
from megavid.datasets.formats.coco.coco_rows import (
    FRAME_KEYS,
    CocoImage,
    CocoObject,
    CocoVideo,
    Row,
    parse_image,
    parse_object,
    parse_video,
    shown_id,
)
from megavid.datasets.formats.json_values import shown, whole_number
from megavid.datasets.formats.track_ids import track_id
from megavid.datasets.frame_names import is_video_frame, parse_name
from megavid.datasets.match_frames import number_files
from megavid.datasets.table.annotations import NO_TRACK, AnnotationBuilder, Annotations
from megavid.datasets.table.problems import BadRowError, Kind, Problems
from megavid.video.suffixes import is_video_name


def is_coco(path: Path) -> bool:
    """Return whether a path is a file whose suffix is .json."""
    return path.suffix.lower() == ".json" and path.is_file()


def read_coco(
    path: Path, *, images: Path | None = None, classes: Sequence[str] | None = None, problems: Problems
) -> Annotations:
    """Read a CocoVID or COCO file.

    The frame number of an image is its `frame_id`, or `frame_index` in TAO. If no image has either key, the
    numbers in the file names are used. Objects with `iscrowd` or `ignore` are difficult; those with `iscrowd`
    are also crowds. Categories of the same name become one class.

    If a video has a `file_name`, its frames are read from that file, unless the image of the first frame
    exists.

    Args:
        path: The JSON file.
        images: The folder that file names are relative to. By default, the JSON file's folder and folders
            near it are searched for the first video and image.
        classes: Names of the categories to read, in the order of their labels; None for all.
        problems: Collects invalid rows, and objects whose category is not read.

    Raises:
        InputError: The file is missing, broken, or of another kind; or see `problems`.
    """
    return _Reader(path, _load(path), classes, problems).read(images)


def _load(path: Path) -> Row:
    data = read_json(path)
    found: Row = data if isinstance(data, dict) else {}
    for key in ("images", "annotations", "categories"):
        if not isinstance(found.get(key), list):
            raise InputError(f"{path}: expected COCO annotations, with a list {key!r}")
    return found


class _Reader:
    """Reads the tables of a file."""

    def __init__(self, path: Path, data: Row, classes: Sequence[str] | None, problems: Problems) -> None:
        self._path = path
        self._data = data
        self._problems = problems
        self._has_videos = "videos" in data and (data["videos"] != [] or self._any_image_has("video_id"))
        self._numbered = self._any_image_has(*FRAME_KEYS)
        self._names = self._read_categories()
        self._classes = tuple(classes or dict.fromkeys(self._names.values()))
        ids = {name: number for number, name in reversed(self._names.items())}
        self._category_ids = [ids.get(name, -1 - k) for k, name in enumerate(self._classes)]
        labels = {name: label for label, name in enumerate(self._classes)}
        self._labels = {number: labels[name] for number, name in self._names.items() if name in labels}

    def read(self, root: Path | None) -> Annotations:
        videos = self._read_videos() if self._has_videos else {}
        images = self._read_images(videos)
        objects = self._read_objects(images)
        if root is None:
            sources, files = (video.file for video in videos.values()), (i.file for i in images.values())
            first = [name for names in (sources, files) if (name := next(filter(None, names), None))]
            root = _media_folder(self._path, first, self._problems)
        builder = AnnotationBuilder(self._classes, root=root, category_ids=self._category_ids)
        grouped = (
            _group_by_video(videos, images) if self._has_videos else _videos_of_images(images, self._problems)
        )
        for video, frames in grouped:
            _add_video(builder, video, frames, objects)
        return builder.build()

    def _any_image_has(self, *keys: str) -> bool:
        rows = (row for row in self._data["images"] if isinstance(row, dict))
        return any(key in row for row in rows for key in keys)

    def _read_categories(self) -> dict[int, str]:
        """Return the name of each category by its id."""
        check_class_count(len(self._data["categories"]), origin=self._path)
        names: dict[int, str] = {}
        for row in self._rows("categories", "id", "name"):
            number, name = whole_number(row["id"]), class_name(row["name"])
            message = ""
            if number is None:
                message = f"expected a whole number as id, got {shown(row['id'])}"
            elif name is None:
                message = f"expected text as name, got {shown(row['name'])}"
            elif names.setdefault(number, name) != name:
                message = f"two categories have this id, {names[number]!r} and {name!r}"
            if message:
                where = f"{self._path}, category {shown_id(row['id'])}"
                self._problems.add(Kind.BAD_ROW, where, message)
        return names

    def _read_videos(self) -> dict[int | str, CocoVideo]:
        videos: dict[int | str, CocoVideo] = {}
        for row in self._rows("videos", "id", "name"):
            try:
                number, video = parse_video(row)
                if number in videos:
                    raise BadRowError("two videos have this id")
            except BadRowError as bad:
                self._report("video", row["id"], bad)
                continue
            videos[number] = video
        return videos

    def _read_images(self, videos: Mapping[int | str, CocoVideo]) -> dict[int, CocoImage]:
        if self._has_videos and not self._numbered:
            self._problems.note(self._path, "has no frame_id: frames have the numbers in the names of images")
        images: dict[int, CocoImage] = {}
        taken: set[tuple[int | str | None, int]] = set()
        for row in self._rows("images", "id", "file_name"):
            try:
                image = parse_image(row, videos if self._has_videos else None, numbered=self._numbered)
                if image.id in images:
                    raise BadRowError("two images have this id", Kind.DUPLICATE_FRAME)
                if self._has_videos and (image.video, image.frame) in taken:
                    message = f"frame {image.frame} of video {image.video} is in the file twice"
                    raise BadRowError(message, Kind.DUPLICATE_FRAME)
            except BadRowError as bad:
                self._report("image", row["id"], bad)
                continue
            images[image.id] = image
            taken.add((image.video, image.frame))
        return images

    def _read_objects(self, images: Mapping[int, CocoImage]) -> dict[int, list[CocoObject]]:
        """Return the objects of each image by the image's id."""
        objects: dict[int, list[CocoObject]] = {}
        for number, row in enumerate(self._rows("annotations", "image_id", "category_id", "bbox")):
            try:
                found = parse_object(row, images, self._labels, self._names)
            except BadRowError as bad:
                self._report("annotation", row.get("id", number), bad)
                continue
            objects.setdefault(found.image, []).append(found)
        return objects

    def _rows(self, table: str, *keys: str) -> Iterator[Row]:
        """Yield the rows of a table that have all of `keys`."""
        rows: Any = self._data[table]
        if not isinstance(rows, list):
            raise InputError(f"{self._path}: expected {table} as a list, got {shown(rows)}")
        for number, row in enumerate(rows):
            lacking = [key for key in keys if not isinstance(row, dict) or key not in row]
            if lacking:
                where = f"{self._path}, {table}[{number}]"
                self._problems.add(Kind.BAD_ROW, where, f"{lacking[0]!r} is missing")
            else:
                yield row

    def _report(self, what: str, number: object, bad: BadRowError) -> None:
        self._problems.add(bad.kind, f"{self._path}, {what} {shown_id(number)}", str(bad))


def _media_folder(path: Path, files: Sequence[str], problems: Problems) -> Path:
    """Return the JSON file's folder or a folder near it, whichever contains one of the files."""
    folder = path.absolute().parent
    candidates = (folder, folder / "images", folder / "data", folder.parent, folder.parent / "images")
    found = next((c for c in candidates if any(is_file(c / file) for file in files)), None)
    if found is None and files:
        places = "images and data in it, the one above and images there"
        problems.note(path, f"no {files[0]} in its folder, {places}; --images says where images are")
    return found or folder


def _group_by_video(
    videos: Mapping[int | str, CocoVideo], images: Mapping[int, CocoImage]
) -> Iterator[tuple[CocoVideo, Sequence[CocoImage]]]:
    """Yield each video with its frames in order."""
    frames: dict[int | str | None, list[CocoImage]] = {}
    for image in images.values():
        frames.setdefault(image.video, []).append(image)
    for number, video in videos.items():
        yield video, sorted(frames.get(number, ()), key=lambda image: image.frame)


def _videos_of_images(
    images: Mapping[int, CocoImage], problems: Problems
) -> Iterator[tuple[CocoVideo, Sequence[CocoImage]]]:
    """Yield each image as a video of one frame, but join images that Roboflow extracted from one video."""
    clips: dict[str, list[CocoImage]] = {}
    stills: list[CocoImage] = []
    for image in images.values():
        path = PurePath(image.file or "")
        if is_video_frame(path):
            clips.setdefault((path.parent / parse_name(path).clip).as_posix(), []).append(image)
        else:
            stills.append(image)
    for name, frames in clips.items():
        by_file = {image.file or "": image for image in frames}
        try:
            matched = number_files(list(by_file), where=name)
        except InputError as error:
            problems.note(f"video {name!r}", f"its images are treated as still images: {error}")
            stills += frames
        else:
            problems.note(f"video {name!r}", matched.how)
            yield (
                CocoVideo(name, None),
                [replace(by_file[file], frame=number) for number, file in matched.files.items()],
            )
    yield from _stills(stills)


def _stills(images: Sequence[CocoImage]) -> Iterator[tuple[CocoVideo, Sequence[CocoImage]]]:
    """Yield each image as a video that is named after the image file.

    The name includes the file's suffix only if two videos would have the same name without it.
    """
    files = [image.file or "" for image in images]
    bare = [Path(file).with_suffix("").as_posix() for file in files]
    counts = Counter(bare)
    for name, file, image in zip(bare, files, images, strict=True):
        yield CocoVideo(name if counts[name] == 1 else file, None), [image]


def _source(root: Path, video: CocoVideo, frames: Sequence[CocoImage]) -> str | None:
    """Return the file that a video's frames are read from; None if they are read from images."""
    file, first = video.file, frames[0].file if frames else None
    if file is None or first is None:
        return file
    is_video = is_file(root / file) or is_video_name(file)
    return file if is_video and not is_file(root / first) else None


def _add_video(
    builder: AnnotationBuilder,
    video: CocoVideo,
    frames: Sequence[CocoImage],
    objects: Mapping[int, Sequence[CocoObject]],
) -> None:
    source = _source(builder.root, video, frames)
    builder.video(video.name, source=source or "")
    tracks: dict[str, int] = {}
    for image in frames:
        builder.frame(
            image.frame,
            file=None if source else image.file,
            width=image.width,
            height=image.height,
            listed=image.listed,
            image_id=image.id,
        )
        for row in objects.get(image.id, ()):
            builder.box(
                *row.box,
                label=row.label,
                track=NO_TRACK if row.track is None else track_id(row.track, tracks),
                occluded=row.occluded,
                generated=row.generated,
                difficult=row.ignore,
                crowd=row.crowd,
                area=row.area,
            )
