# Finds Debian's LLVM/MLIR 22 and makes its static archives usable on their own: as packaged, every MLIR target
# also names the shared libLLVM, and LLVMSupport the shared libzstd.
set(ZLIB_USE_STATIC_LIBS ON)
find_package(MLIR 22.1 REQUIRED CONFIG)
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)
include_directories(SYSTEM ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
add_definitions(${LLVM_DEFINITIONS})

find_library(ZSTD_ARCHIVE NAMES libzstd.a REQUIRED)
if(NOT TARGET zstd::libzstd_shared)
  add_library(zstd::libzstd_shared UNKNOWN IMPORTED)
endif()
set_target_properties(zstd::libzstd_shared PROPERTIES
  IMPORTED_LOCATION ${ZSTD_ARCHIVE} IMPORTED_LOCATION_NOCONFIG ${ZSTD_ARCHIVE} IMPORTED_LOCATION_RELEASE ${ZSTD_ARCHIVE})

get_property(mlir_libs GLOBAL PROPERTY MLIR_ALL_LIBS)
foreach(lib IN LISTS mlir_libs)
  if(TARGET ${lib})
    get_target_property(deps ${lib} INTERFACE_LINK_LIBRARIES)
    if(deps)
      list(REMOVE_ITEM deps LLVM MLIR)
      set_target_properties(${lib} PROPERTIES INTERFACE_LINK_LIBRARIES "${deps}")
    endif()
  endif()
endforeach()

# The LLVM components behind MLIR, as one target.
llvm_map_components_to_libnames(llvm_libs core support perfjitevents orcjit orctargetprocess jitlink executionengine target
  passes x86codegen x86desc x86info x86asmparser nvptxcodegen nvptxdesc nvptxinfo)
add_library(espmm_llvm INTERFACE)
target_link_libraries(espmm_llvm INTERFACE ${llvm_libs})
