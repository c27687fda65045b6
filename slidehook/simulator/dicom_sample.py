"""Creates a DICOM whole-slide series: one instance per pyramid level, and one for the label."""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

from slidehook.simulator.label import draw_label
from slidehook.simulator.section import draw_section

TILE_PX = 256
MPP = 0.25
LEVELS = 3
UID_ROOT = "1.2.826.0.1.3680043.8.498.2"
"""Below pydicom's own root. The UIDs are constant, so that the files are reproducible."""


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, accessible only to the owner."""
    for each in [*reversed(folder.absolute().parents), folder]:
        if not each.is_dir():
            each.mkdir(0o700, exist_ok=True)
            each.chmod(0o700)


def make_dicom(folder: Path, *, width: int = 2048, height: int = 1536) -> None:
    """Write the series into `folder`: `level-0.dcm` (full size), `level-1.dcm` … and `label.dcm`.

    TILED_FULL, JPEG baseline, 256 px tiles, 0.25 µm per pixel at level 0, each level half the one above it.
    The files are written to a temporary folder, which is then renamed. Raises OSError if `folder` is not empty.
    """
    make_folder(folder.parent)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        aside.chmod(0o700)
        section = draw_section(width, height, seed=2)
        for level in range(LEVELS):
            shrunk = section.shrink(2**level, 2**level) if level else section
            _write_level(aside / f"level-{level}.dcm", _pixels(shrunk), level)
        _write_label(aside / "label.dcm")
        aside.replace(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _pixels(image: Any) -> Image.Image:
    return Image.fromarray(np.asarray(image.numpy(), dtype=np.uint8))


def _write_level(path: Path, picture: Image.Image, level: int) -> None:
    kind = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE" if level == 0 else "RESAMPLED"]
    if level:
        kind[0] = "DERIVED"
    instance = _instance(picture, kind, number=level + 1, mpp=MPP * 2**level)
    frames = [
        _jpeg(picture.crop((left, top, left + TILE_PX, top + TILE_PX)))
        for top in range(0, picture.height, TILE_PX)
        for left in range(0, picture.width, TILE_PX)
    ]
    instance.Rows = instance.Columns = TILE_PX
    instance.DimensionOrganizationType = "TILED_FULL"
    _save(instance, frames, path)


def _write_label(path: Path) -> None:
    picture = draw_label(("SAMPLE 0002", "IHC DAB", "slidehook"))
    instance = _instance(picture, ["ORIGINAL", "PRIMARY", "LABEL", "NONE"], number=LEVELS + 1, mpp=50.0)
    instance.Rows, instance.Columns = picture.height, picture.width
    instance.BurnedInAnnotation = "YES"
    instance.SpecimenLabelInImage = "YES"
    instance.LabelText = "SAMPLE 0002"
    _save(instance, [_jpeg(picture)], path)


def _instance(picture: Image.Image, kind: list[str], *, number: int, mpp: float) -> Dataset:
    """Return an instance with the attributes common to the series; `mpp` in µm per pixel of this instance."""
    instance = Dataset()
    instance.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    instance.SOPInstanceUID = f"{UID_ROOT}.3.{number}"
    instance.StudyInstanceUID = f"{UID_ROOT}.1"
    instance.SeriesInstanceUID = f"{UID_ROOT}.2"
    instance.FrameOfReferenceUID = f"{UID_ROOT}.4"
    instance.PositionReferenceIndicator = "SLIDE_CORNER"
    instance.Modality = "SM"
    instance.ImageType = kind
    instance.InstanceNumber, instance.SeriesNumber = number, 1
    instance.PatientID = instance.AccessionNumber = "SAMPLE-0001"
    instance.PatientName = instance.PatientBirthDate = instance.PatientSex = ""
    instance.StudyDate = instance.ContentDate = "20240101"
    instance.StudyTime = instance.ContentTime = "120000"
    instance.AcquisitionDateTime = "20240101120000"
    instance.Manufacturer, instance.ManufacturerModelName = "slidehook", "simulator"
    instance.DeviceSerialNumber = instance.SoftwareVersions = "1"
    instance.ContainerIdentifier = "SAMPLE-0002"
    instance.VolumetricProperties = "VOLUME"
    instance.FocusMethod, instance.ExtendedDepthOfField = "AUTO", "NO"
    instance.BurnedInAnnotation = instance.SpecimenLabelInImage = "NO"
    instance.TotalPixelMatrixColumns, instance.TotalPixelMatrixRows = picture.size
    instance.TotalPixelMatrixFocalPlanes = 1
    instance.ImagedVolumeWidth = picture.width * mpp / 1000
    instance.ImagedVolumeHeight = picture.height * mpp / 1000
    instance.ImagedVolumeDepth = 0.001
    instance.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    instance.TotalPixelMatrixOriginSequence = Sequence([_origin()])
    instance.OpticalPathSequence = Sequence([_optical_path()])
    instance.NumberOfOpticalPaths = 1
    instance.SharedFunctionalGroupsSequence = Sequence([_shared(mpp, kind)])
    _describe_pixels(instance)
    return instance


def _origin() -> Dataset:
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem = 20.0
    origin.YOffsetInSlideCoordinateSystem = 40.0
    return origin


def _shared(mpp: float, kind: list[str]) -> Dataset:
    measures = Dataset()
    measures.PixelSpacing = [mpp / 1000, mpp / 1000]
    measures.SliceThickness = 0.001
    frame_type = Dataset()
    frame_type.FrameType = kind
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.WholeSlideMicroscopyImageFrameTypeSequence = Sequence([frame_type])
    return shared


def _optical_path() -> Dataset:
    path = Dataset()
    path.OpticalPathIdentifier = "0"
    path.ObjectiveLensPower = 40.0
    path.IlluminationTypeCodeSequence = Sequence([_code("111744", "DCM", "Brightfield illumination")])
    path.IlluminationColorCodeSequence = Sequence([_code("414298005", "SCT", "Full Spectrum")])
    return path


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _describe_pixels(instance: Dataset) -> None:
    instance.SamplesPerPixel = 3
    instance.PhotometricInterpretation = "YBR_FULL_422"
    instance.PlanarConfiguration = 0
    instance.BitsAllocated = instance.BitsStored = 8
    instance.HighBit, instance.PixelRepresentation = 7, 0
    instance.LossyImageCompression = "01"
    instance.LossyImageCompressionMethod = "ISO_10918_1"
    instance.LossyImageCompressionRatio = 10.0


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85, subsampling="4:2:2")
    return buffer.getvalue()


def _save(instance: Dataset, frames: list[bytes], path: Path) -> None:
    instance.NumberOfFrames = len(frames)
    instance.PixelData = encapsulate(frames)
    instance["PixelData"].is_undefined_length = True
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = instance.SOPClassUID
    meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    instance.file_meta = meta
    instance.save_as(path, enforce_file_format=True)
