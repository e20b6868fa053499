"""The distribution `leukoscope`: the device's program, its models, and what trains and converts them."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "edge" / "__init__.py").read_text("utf-8"))
assert VERSION is not None

# LiteRT has wheels for 64-bit Linux and macOS. A 32-bit Raspberry Pi OS has tflite-runtime only, which was
# built for numpy 1 and stops at Python 3.11.
LITERT = "platform_machine != 'armv7l' and platform_machine != 'armv6l'"
TFLITE = "platform_machine == 'armv7l' or platform_machine == 'armv6l'"

FIGURES = ["matplotlib>=3.8"]
DASHBOARD = [
    "starlette>=0.46",
    "uvicorn>=0.34",
    "jinja2>=3.1.5",
    "python-multipart>=0.0.20",
    "argon2-cffi>=23.1",
]
COLLECT = ["psycopg[binary]>=3.2"]

PACKAGES = ("edge", "models", "convert", "dashboard", "fleet")

setup(
    name="leukoscope",
    version=VERSION.group(1),
    description="White blood cell differentials at the microscope: edge inference over MQTT",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "NOTICE", "edge/report/fonts/LICENSE"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=[f"{name}{inner}" for name in PACKAGES for inner in ("", ".*")]),
    package_data={
        "edge": ["samples/**/*", "report/*.toml", "report/fonts/*", "doctor/golden.json"],
        "dashboard": ["templates/**/*", "static/**/*", "strings/**/*"],
        "fleet": ["schema.sql"],
        "models": ["zoo/*/model.tflite", "zoo/*/manifest.json", "zoo/*/README.md"],
    },
    install_requires=[
        f"ai-edge-litert>=2.1,!=2.0.2,!=2.0.3; {LITERT}",
        f"tflite-runtime>=2.14; {TFLITE}",
        f"numpy>=1.26,<2; {TFLITE}",
        f"numpy>=1.26; {LITERT}",
        "Pillow>=10.3",
        "opencv-python-headless>=4.9",
        "paho-mqtt>=2.1,<3",
        "prometheus-client>=0.20",  # 64 kB, and nothing beneath it
        "click>=8.1",
        "pydantic>=2.12,<3",
        "fpdf2>=2.8",  # 0.3 MB, and fonttools, 1 to 5 MB
    ],
    extras_require={
        "camera": ["picamera2>=0.3.32"],
        "convert": ["tensorflow>=2.18", "keras>=3.12", "h5py>=3.11", *FIGURES],
        "evaluate": FIGURES,
        "dashboard": DASHBOARD,
        "collect": COLLECT,
        "dev": [
            "pytest>=8",
            "pytest-timeout>=2.3",
            "hypothesis>=6",
            "ruff>=0.9",
            "mypy>=1.14",
            "jsonschema>=4.21",
            "scipy>=1.11",
            "pypdf>=5",
            "fhir.resources>=8",
            "httpx>=0.27",
            "playwright>=1.50",
            "axe-playwright-python>=0.1.4",
            *FIGURES,
            *DASHBOARD,
            *COLLECT,
        ],
    },
    entry_points={"console_scripts": ["leukoscope = edge.cli:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
