# The unit tests of lib/Support; they reach into its private headers.
set(SUPPORT_TESTS ${CMAKE_CURRENT_LIST_DIR})

add_executable(SupportTest
  ${SUPPORT_TESTS}/SupportTest.cpp
  ${SUPPORT_TESTS}/SupportClebschGordanTest.cpp
  ${SUPPORT_TESTS}/SupportFactorizationTest.cpp
  ${SUPPORT_TESTS}/SupportFactorPlanTest.cpp
  ${SUPPORT_TESTS}/SupportProblems.cpp)
target_include_directories(SupportTest PRIVATE ${SUPPORT_TESTS}/../../lib/Support)
target_link_libraries(SupportTest PRIVATE EspmmSupport)
add_test(NAME SupportTest COMMAND SupportTest)
