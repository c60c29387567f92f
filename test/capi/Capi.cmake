# The C interface, from C.
add_executable(CapiTest ${CMAKE_CURRENT_LIST_DIR}/CapiTest.c)
target_include_directories(CapiTest PRIVATE ${PROJECT_SOURCE_DIR}/include)
target_compile_options(CapiTest PRIVATE -Wall -Wextra)
target_link_libraries(CapiTest PRIVATE espmm m)
add_test(NAME CapiTest COMMAND CapiTest)
set_tests_properties(CapiTest PROPERTIES ENVIRONMENT "ESPMM_CACHE=0")

# Many processes with one disk cache.
add_executable(CapiCacheTest ${CMAKE_CURRENT_LIST_DIR}/CapiCacheTest.cpp)
target_link_libraries(CapiCacheTest PRIVATE espmm EspmmRuntime)
add_test(NAME CapiCacheTest COMMAND CapiCacheTest)
