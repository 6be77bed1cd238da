# One static library per folder, one test program per test folder. Sources are globbed: a file
# belongs to the folder it lies in, and to nothing else.

# skipstone_library(engine_kv DIR engine/kv DEPS base): all .cc files directly in the folders DIR.
function(skipstone_library name)
  cmake_parse_arguments(ARG "" "" "DIR;DEPS;EXCLUDE" ${ARGN})
  list(TRANSFORM ARG_DIR PREPEND ${CMAKE_SOURCE_DIR}/)
  list(TRANSFORM ARG_DIR APPEND /*.cc)
  file(GLOB sources CONFIGURE_DEPENDS ${ARG_DIR})
  foreach(pattern IN LISTS ARG_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX ${pattern})
  endforeach()
  if(sources)
    add_library(${name} STATIC ${sources})
    target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} PUBLIC ${ARG_DEPS})
  else()
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} INTERFACE ${ARG_DEPS})
  endif()
endfunction()

# skipstone_test(engine_kv_test DIR tests/engine/kv DEPS engine_kv LABELS unit;tsan): all
# *_test.cc files directly in DIR and SOURCES as one GoogleTest program, each TEST a ctest of its
# own. DEPS: what it needs, and no more, since all of that is built first. PROGRAMS: targets that
# the tests run. SERIAL: ctest runs nothing beside them.
function(skipstone_test name)
  cmake_parse_arguments(ARG "SERIAL" "DIR;TIMEOUT" "DEPS;LABELS;PROGRAMS;SOURCES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${ARG_DIR}/*_test.cc)
  if(NOT sources)
    return()
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  # Objects of their own: those of a program would wait for the programs that it depends on.
  add_library(${name}_objects OBJECT ${sources} ${ARG_SOURCES})
  target_link_libraries(${name}_objects PUBLIC ${ARG_DEPS} GTest::gmock)
  add_executable(${name})
  target_link_libraries(${name} PRIVATE ${name}_objects GTest::gtest_main)
  if(ARG_PROGRAMS)
    add_dependencies(${name} ${ARG_PROGRAMS})
  endif()
  if("grpc" IN_LIST ARG_LABELS)
    # What these tests do themselves is small, and their headers are large: a third of the time of
    # their compilation goes (10.3 to 6.9 s of processor for tests/server/grpc_port_test.cc).
    target_compile_options(${name}_objects PRIVATE -O0 -fpch-preprocess)
    target_precompile_headers(${name}_objects PRIVATE <grpcpp/grpcpp.h> <gmock/gmock.h>
                              <gtest/gtest.h> <skipstone/v1/inference.grpc.pb.h>)
  endif()
  if("tsan" IN_LIST ARG_LABELS)
    add_dependencies(tsan_tests ${name})
  endif()
  # PROPERTIES is taken apart three times on its way to ctest, and each time takes escapes: with
  # fewer, the first label alone arrives, and no TIMEOUT.
  string(REPLACE ";" "\\\\\\\\\\\\\\;" labels "${ARG_LABELS}")
  # The parameters of INSTANTIATE_TEST_SUITE_P have names; their values print as bytes.
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST NO_PRETTY_VALUES
                       PROPERTIES LABELS "${labels}" TIMEOUT ${ARG_TIMEOUT}
                                  RUN_SERIAL ${ARG_SERIAL})
endfunction()
