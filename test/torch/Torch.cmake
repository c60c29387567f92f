# A C++ program that uses torch.ops.espmm without Python, built with the torch that libespmm_torch.so was built with; test_torch_library.py runs it.
if(TARGET espmm_torch)
  add_executable(TorchProgram ${CMAKE_CURRENT_LIST_DIR}/TorchProgram.cpp)
  set_target_properties(TorchProgram PROPERTIES CXX_STANDARD 20)
  target_include_directories(TorchProgram SYSTEM PRIVATE ${ESPMM_FOUND_TORCH}/include ${ESPMM_FOUND_TORCH}/include/torch/csrc/api/include)
  target_link_libraries(TorchProgram PRIVATE ${ESPMM_FOUND_TORCH}/lib/libtorch.so ${ESPMM_FOUND_TORCH}/lib/libtorch_cpu.so
    ${ESPMM_FOUND_TORCH}/lib/libc10.so ${CMAKE_DL_LIBS})
  target_link_options(TorchProgram PRIVATE -fuse-ld=lld -B/usr/lib/llvm-22/bin LINKER:--allow-shlib-undefined)
endif()
