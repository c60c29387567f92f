# Flags and helpers shared by all of espmm's targets.
add_library(espmm_flags INTERFACE)
target_compile_options(espmm_flags INTERFACE
  -fno-exceptions -ffunction-sections -fdata-sections -fvisibility=hidden -fvisibility-inlines-hidden
  -fno-semantic-interposition -Wall -Wextra -Wno-unused-parameter -Wno-comment -U__DEPRECATED)
target_link_options(espmm_flags INTERFACE
  -fuse-ld=lld -B/usr/lib/llvm-22/bin LINKER:--gc-sections LINKER:--as-needed LINKER:-O2 LINKER:--threads=2)

# One precompiled header for everything that includes MLIR: the headers cost five times what our code does.
function(espmm_use_mlir_pch target)
  if(NOT TARGET EspmmPCH)
    file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/pch.cpp CONTENT "// Carries the precompiled header.\n")
    add_library(EspmmPCH OBJECT ${CMAKE_BINARY_DIR}/pch.cpp)
    target_link_libraries(EspmmPCH PRIVATE espmm_flags)
    target_precompile_headers(EspmmPCH PRIVATE ${PROJECT_SOURCE_DIR}/lib/pch.h)
  endif()
  target_precompile_headers(${target} REUSE_FROM EspmmPCH)
endfunction()

# espmm_mlir_library(NAME sources... [LINK libs...]): a static library of the compiler.
function(espmm_mlir_library name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PUBLIC espmm_flags ${ARG_LINK})
  add_dependencies(${name} EspmmIncGen)
  espmm_use_mlir_pch(${name})
endfunction()
