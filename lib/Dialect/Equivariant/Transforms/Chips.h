//===- Chips.h - what differs between NVIDIA's chips ------------*- C++ -*-===//
#ifndef ESPMM_LIB_EQUIVARIANT_CHIPS_H
#define ESPMM_LIB_EQUIVARIANT_CHIPS_H

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"

namespace espmm::equivariant {

/// What a block may have of a chip's shared memory, by NVIDIA's table of compute capabilities; of chips that it does not name, what all have.
inline int64_t getSharedBytesOfBlock(llvm::StringRef chip) {
  return llvm::StringSwitch<int64_t>(chip)
             .Cases({"sm_80", "sm_87"}, 163)
             .Cases({"sm_90", "sm_90a", "sm_100", "sm_100a", "sm_103", "sm_103a"}, 227)
             .Default(99)
         << 10;
}

/// Whether a launch can begin before the one that it depends on has ended.
inline bool hasDependentLaunches(llvm::StringRef chip) {
  unsigned number = 0;
  return chip.consume_front("sm_") && !chip.take_while(llvm::isDigit).getAsInteger(10, number) && number >= 90;
}

} // namespace espmm::equivariant

#endif // ESPMM_LIB_EQUIVARIANT_CHIPS_H
