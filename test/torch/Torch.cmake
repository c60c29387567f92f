# C++ programs that use torch.ops.espmm without Python, built with the torch that libespmm_torch.so was built with; test_torch_models.py runs the first,
# the tests of clients the second.
if(TARGET espmm_torch)
  foreach(program TorchProgram DeployedProgram)
    add_executable(${program} ${CMAKE_CURRENT_LIST_DIR}/${program}.cpp)
    set_target_properties(${program} PROPERTIES CXX_STANDARD 20)
    target_include_directories(${program} SYSTEM PRIVATE ${ESPMM_FOUND_TORCH}/include ${ESPMM_FOUND_TORCH}/include/torch/csrc/api/include)
    target_link_libraries(${program} PRIVATE ${ESPMM_FOUND_TORCH}/lib/libtorch.so ${ESPMM_FOUND_TORCH}/lib/libtorch_cpu.so
      ${ESPMM_FOUND_TORCH}/lib/libc10.so ${CMAKE_DL_LIBS})
    target_link_options(${program} PRIVATE -fuse-ld=lld -B/usr/lib/llvm-22/bin LINKER:--allow-shlib-undefined)
  endforeach()
endif()
