//===- Chips.h - what differs between NVIDIA's chips ------------*- C++ -*-===//
#ifndef ESPMM_EQUIVARIANT_TRANSFORMS_CHIPS_H
#define ESPMM_EQUIVARIANT_TRANSFORMS_CHIPS_H

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include <optional>

namespace espmm::equivariant {

/// What a block may have of a chip's shared memory, by NVIDIA's table of compute capabilities; of chips that it does not name, what all have.
inline int64_t getSharedBytesOfBlock(llvm::StringRef chip) {
  return llvm::StringSwitch<int64_t>(chip)
             .Cases({"sm_80", "sm_87"}, 163)
             .Cases({"sm_90", "sm_90a", "sm_100", "sm_100a", "sm_103", "sm_103a"}, 227)
             .Default(99)
         << 10;
}

/// 90 of sm_90 and sm_90a; none of what is no chip's name.
inline std::optional<unsigned> getComputeCapability(llvm::StringRef chip) {
  unsigned number = 0;
  if (!chip.consume_front("sm_") || chip.take_while(llvm::isDigit).getAsInteger(10, number))
    return std::nullopt;
  return number;
}

/// Whether a launch can begin before the one that it depends on has ended.
inline bool hasDependentLaunches(llvm::StringRef chip) { return getComputeCapability(chip).value_or(0) >= 90; }

} // namespace espmm::equivariant

#endif // ESPMM_EQUIVARIANT_TRANSFORMS_CHIPS_H
