//===- ForkGate.h - no fork in the middle of a compile -------------------===//
#ifndef ESPMM_RUNTIME_FORKGATE_H
#define ESPMM_RUNTIME_FORKGATE_H

namespace espmm {

/// Held while a thread compiles, assembles or links. A fork waits until nobody holds one: the child has only the thread that
/// forked, and a lock inside LLVM or the driver that another thread held would stay locked there for ever. A fork by a holder
/// does not wait.
class ForkGate {
public:
  ForkGate();
  ~ForkGate();
  ForkGate(const ForkGate &) = delete;
  ForkGate &operator=(const ForkGate &) = delete;
};

} // namespace espmm

#endif
