//===- Assembler.h - PTX to machine code for one GPU ---------------------===//
#ifndef ESPMM_RUNTIME_ASSEMBLER_H
#define ESPMM_RUNTIME_ASSEMBLER_H

#include "espmm/Runtime/CudaDevice.h"
#include <string>
#include <vector>

namespace espmm::cuda {

struct Cubin {
  std::string kernel; // the one that is in it; "" if there may be several
  std::string code;
  std::string log; // what the assembler reported: registers, spills
};

/// ptxas, in this order: ESPMM_PTXAS, CUDA_HOME/bin, CUDA_PATH/bin, PATH, /usr/local/cuda/bin.
llvm::Expected<std::string> findPtxas();

/// What `ptxas --version` says of its release: "13.0". Starts a process.
llvm::Expected<std::string> ptxasVersion(llvm::StringRef ptxas);

/// Assembles in a process of its own, for any chip ("sm_90"); needs no GPU. Errors carry ptxas's log.
llvm::Expected<Cubin> assembleWithPtxas(llvm::StringRef ptx, llvm::StringRef chip);

/// Assembles with the driver's own compiler, for this device. Errors carry its log.
llvm::Expected<Cubin> assembleWithDriver(llvm::StringRef ptx, const Device &device);

enum class Assembler { Driver, Ptxas };

/// Which one to use: ESPMM_ASSEMBLER, "driver" (the default: it starts faster than a ptxas process) or "ptxas".
llvm::Expected<Assembler> assemblerFromEnvironment();

struct KernelText {
  std::string kernel, ptx;
};

/// A PTX module as one module for each kernel, with the declarations and tables that it needs. A module that is not of the form
/// that LLVM writes stays whole, under the name "".
std::vector<KernelText> splitKernels(llvm::StringRef ptx);

/// The cubins of all kernels for a device, from the disk cache if they are there and put there if not. Those that are not are
/// assembled in threads of their own. ptxas is also tried when the driver is too old for the PTX.
llvm::Expected<std::vector<Cubin>> cubinsFor(llvm::StringRef ptx, const Device &device, Assembler assembler);

/// The same for any chip, by ptxas; needs no GPU.
llvm::Expected<std::vector<Cubin>> cubinsFor(llvm::StringRef ptx, llvm::StringRef chip);

/// What ptxas -v, or the driver's verbose log, says of one kernel.
struct KernelResources {
  std::string kernel;
  int registers = 0;
  int spillStores = 0; // bytes
  int spillLoads = 0;
  int stack = 0;
  int shared = 0; // static shared memory
};

std::vector<KernelResources> parseAssemblerLog(llvm::StringRef log);

/// Bytes of a kernel's machine code in a cubin; 0 if the cubin has no such kernel.
int64_t codeBytes(llvm::StringRef cubin, llvm::StringRef kernel);

} // namespace espmm::cuda

#endif
