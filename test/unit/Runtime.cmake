# The runtime's unit tests. Needs the targets EspmmRuntime and, for the C functions, lib/CAPI/RuntimeCAPI.cpp.
set(RUNTIME_TESTS ${CMAKE_CURRENT_LIST_DIR})
find_program(ESPMM_TEST_CLANG NAMES clang-22 clang HINTS ${LLVM_TOOLS_BINARY_DIR} REQUIRED)

add_executable(RuntimeTest
  ${RUNTIME_TESTS}/RuntimeTest.cpp
  ${RUNTIME_TESTS}/RuntimeCacheProcessesTest.cpp
  ${RUNTIME_TESTS}/RuntimeCacheTest.cpp
  ${RUNTIME_TESTS}/RuntimeForkGateTest.cpp
  ${RUNTIME_TESTS}/RuntimeHostTest.cpp
  ${RUNTIME_TESTS}/RuntimeManifestTest.cpp
  ${RUNTIME_TESTS}/RuntimePlanTest.cpp
  ${RUNTIME_TESTS}/RuntimePtxasTest.cpp
  ${RUNTIME_TESTS}/RuntimeThreadPoolTest.cpp
  ${RUNTIME_TESTS}/../../lib/CAPI/RuntimeCAPI.cpp)
target_link_libraries(RuntimeTest PRIVATE EspmmRuntime)
add_test(NAME RuntimeTest COMMAND RuntimeTest ${ESPMM_TEST_CLANG})

# The same tests run on a GPU, on the fake driver, and where there is neither.
add_executable(RuntimeCudaTest ${RUNTIME_TESTS}/RuntimeCudaTest.cpp ${RUNTIME_TESTS}/../../lib/CAPI/RuntimeCAPI.cpp)
target_link_libraries(RuntimeCudaTest PRIVATE EspmmRuntime)
add_test(NAME RuntimeCudaTest COMMAND RuntimeCudaTest)

# Named like the driver's library, in a folder of its own where nothing finds it by accident.
add_library(RuntimeFakeCuda SHARED ${RUNTIME_TESTS}/RuntimeFakeCuda.cpp)
target_link_libraries(RuntimeFakeCuda PRIVATE espmm_flags)
set_target_properties(RuntimeFakeCuda PROPERTIES
  OUTPUT_NAME cuda SOVERSION 1 LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fake-cuda)
add_dependencies(RuntimeCudaTest RuntimeFakeCuda)
add_test(NAME RuntimeCudaTest.fake COMMAND RuntimeCudaTest $<TARGET_FILE:RuntimeFakeCuda>)

find_path(ESPMM_CUDA_INCLUDE cuda.h HINTS $ENV{CUDA_HOME}/include /usr/local/cuda/include PATHS /usr/local/cuda-13.0/include NO_DEFAULT_PATH)
if(ESPMM_CUDA_INCLUDE)
  add_executable(RuntimeCudaAbiTest ${RUNTIME_TESTS}/RuntimeCudaAbiTest.cpp)
  target_include_directories(RuntimeCudaAbiTest SYSTEM PRIVATE ${ESPMM_CUDA_INCLUDE})
  target_link_libraries(RuntimeCudaAbiTest PRIVATE EspmmRuntime)
  add_test(NAME RuntimeCudaAbiTest COMMAND RuntimeCudaAbiTest)
endif()
