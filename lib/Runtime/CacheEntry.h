//===- CacheEntry.h - the format of what is kept between processes -------===//
#ifndef ESPMM_LIB_RUNTIME_CACHEENTRY_H
#define ESPMM_LIB_RUNTIME_CACHEENTRY_H

#include "espmm/Runtime/DiskCache.h"

namespace espmm {

/// The bytes of an entry's file.
std::string sealEntry(llvm::StringRef key, const Blobs &blobs);

/// What an entry's file holds, checked in full; nothing, and what is wrong with it ("is damaged: ...").
std::optional<Blobs> openEntry(llvm::StringRef bytes, llvm::StringRef key, std::string &problem);

} // namespace espmm

#endif
