#!/usr/bin/env python3
"""cmake/SkipstoneGrpc.cmake takes gRPC, protobuf and abseil of CMAKE_PREFIX_PATH, else Debian's.

Usage: grpc_prefix_test.py SOURCE_DIR CMAKE
"""
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

SOURCE, CMAKE = pathlib.Path(sys.argv.pop(1)).resolve(), sys.argv.pop(1)
PROJECT = f"""
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES CXX)
find_package(Threads REQUIRED)
include({SOURCE}/cmake/SkipstoneGrpc.cmake)
get_target_property(links protobuf::libprotobuf INTERFACE_LINK_LIBRARIES)
message(STATUS "protobuf links ${{links}}")
if(NOT TARGET gRPC::grpc++ OR NOT TARGET gRPC::grpc++_reflection OR
   NOT TARGET gRPC::grpc_cpp_plugin OR NOT TARGET protobuf::protoc OR NOT TARGET absl::strings)
  message(FATAL_ERROR "a target is missing")
endif()
"""
# As a newer gRPC installs itself, less all that is in it.
PACKAGES = {
    "absl/abslConfig.cmake": """
        if(NOT TARGET absl::strings)
          add_library(absl::strings INTERFACE IMPORTED)
        endif()""",
    "protobuf/protobuf-config.cmake": """
        include(CMakeFindDependencyMacro)
        find_dependency(absl CONFIG)
        add_library(protobuf::libprotobuf INTERFACE IMPORTED)
        set_target_properties(protobuf::libprotobuf PROPERTIES
                              INTERFACE_LINK_LIBRARIES absl::strings)
        add_executable(protobuf::protoc IMPORTED)""",
    "grpc/gRPCConfig.cmake": """
        foreach(name grpc++ grpc++_reflection)
          add_library(gRPC::${name} INTERFACE IMPORTED)
        endforeach()
        add_executable(gRPC::grpc_cpp_plugin IMPORTED)""",
}
VERSIONS = {"absl/abslConfigVersion.cmake": "20990101", "grpc/gRPCConfigVersion.cmake": "1.99.0",
            "protobuf/protobuf-config-version.cmake": "99.0.0"}


class GrpcPrefixTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.folder / "CMakeLists.txt").write_text(PROJECT)

    def configure(self, *flags):
        answer = subprocess.run([CMAKE, "-S", self.folder, "-B", self.folder / "build", *flags],
                                capture_output=True, text=True)
        self.assertEqual(answer.returncode, 0, answer.stdout + answer.stderr)
        return answer.stdout

    def test_takes_all_three_of_the_prefix(self):
        prefix = self.folder / "prefix"
        for name, text in PACKAGES.items():
            path = prefix / "lib/cmake" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name, version in VERSIONS.items():
            (prefix / "lib/cmake" / name).write_text(
                f"set(PACKAGE_VERSION {version})\nset(PACKAGE_VERSION_COMPATIBLE TRUE)\n")
        output = self.configure(f"-DCMAKE_PREFIX_PATH={prefix}")
        self.assertIn(f"gRPC 1.99.0 ({prefix}/lib/cmake/grpc), protobuf 99.0.0, "
                      f"abseil 20990101 ({prefix}/lib/cmake/absl)", output)
        # Of the package: the module of CMake knows nothing of what a newer protobuf links.
        self.assertIn("protobuf links absl::strings", output)

    def test_takes_those_of_the_system_without_one(self):
        self.assertRegex(self.configure(), r"gRPC 1\.\d+\.\d+ \(/usr/.*protobuf \d.*abseil \d+")

    def test_nothing_else_looks_for_them_or_names_their_files(self):
        lists = [*SOURCE.glob("*/**/CMakeLists.txt"), *SOURCE.glob("*/*.cmake"),
                 SOURCE / "CMakeLists.txt"]
        lists = [one for one in lists if "build" not in one.relative_to(SOURCE).parts]
        self.assertGreater(len(lists), 10)
        for path in lists:
            text = path.read_text()
            found = re.findall(r"find_package\((absl|Protobuf|gRPC)\b", text)
            self.assertEqual(bool(found), path.name == "SkipstoneGrpc.cmake", path)
            self.assertNotRegex(text, r"\blib(grpc|protobuf|absl)\w*\.(so|a)\b|-l(grpc|protobuf|absl)",
                                path)


if __name__ == "__main__":
    unittest.main()
