# The C interface, from C.
add_executable(CapiTest ${CMAKE_CURRENT_LIST_DIR}/CapiTest.c)
target_include_directories(CapiTest PRIVATE ${PROJECT_SOURCE_DIR}/include)
target_compile_options(CapiTest PRIVATE -Wall -Wextra)
target_link_libraries(CapiTest PRIVATE espmm m)
add_test(NAME CapiTest COMMAND CapiTest)
set_tests_properties(CapiTest PROPERTIES ENVIRONMENT "ESPMM_CACHE=0")
