# gRPC with the protobuf and the abseil that it was built with: those of Debian 12, or newer ones
# whose prefix stands in CMAKE_PREFIX_PATH (deploy/README.md, "A newer gRPC"). Imported targets only.
find_package(absl CONFIG REQUIRED)
# Since version 22 protobuf needs abseil, which only its own CMake package knows; Debian 12's has none.
find_package(Protobuf CONFIG QUIET)
if(NOT Protobuf_FOUND)
  find_package(Protobuf MODULE REQUIRED)
endif()
find_package(gRPC CONFIG REQUIRED)
message(STATUS "gRPC ${gRPC_VERSION} (${gRPC_DIR}), protobuf ${Protobuf_VERSION}, "
               "abseil ${absl_VERSION} (${absl_DIR})")
