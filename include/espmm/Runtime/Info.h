//===- Info.h - what espmm finds on this machine -------------------------===//
#ifndef ESPMM_RUNTIME_INFO_H
#define ESPMM_RUNTIME_INFO_H

#include "llvm/Support/JSON.h"

namespace espmm {

/// "0.1.0"
const char *versionString();
/// "22.1.8"
const char *llvmVersionString();

/// Bits of the host's widest vectors: 512, 256 or 128.
int hostVectorBits();

/// Version, host, CUDA driver and devices, ptxas and cache; where something is not there, an "error" that says why.
llvm::json::Object collectInfo();

/// The disk cache and every entry in it; see espmm_cache_list.
llvm::Expected<llvm::json::Object> listCache();

} // namespace espmm

#endif
