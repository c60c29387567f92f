# The runtime's unit tests. Needs the targets EspmmRuntime and, for the C functions, lib/CAPI/RuntimeCAPI.cpp.
set(RUNTIME_TESTS ${CMAKE_CURRENT_LIST_DIR})
find_program(ESPMM_TEST_CLANG NAMES clang-22 clang HINTS ${LLVM_TOOLS_BINARY_DIR} REQUIRED)

add_executable(RuntimeTest
  ${RUNTIME_TESTS}/RuntimeTest.cpp
  ${RUNTIME_TESTS}/RuntimeCacheTest.cpp
  ${RUNTIME_TESTS}/RuntimeHostTest.cpp
  ${RUNTIME_TESTS}/RuntimeManifestTest.cpp
  ${RUNTIME_TESTS}/RuntimePlanTest.cpp
  ${RUNTIME_TESTS}/RuntimePtxasTest.cpp
  ${RUNTIME_TESTS}/RuntimeThreadPoolTest.cpp
  ${RUNTIME_TESTS}/../../lib/CAPI/RuntimeCAPI.cpp)
target_link_libraries(RuntimeTest PRIVATE EspmmRuntime)
add_test(NAME RuntimeTest COMMAND RuntimeTest ${ESPMM_TEST_CLANG})
