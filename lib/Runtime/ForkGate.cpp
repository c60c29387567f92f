#include "espmm/Runtime/ForkGate.h"
#include <mutex>
#include <pthread.h>

namespace espmm {

// Readers come first by default, so that a holder that takes it again does not wait for a fork that waits for it.
static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER;
static thread_local int held = 0;

// A holder that forks (the driver may, to run a program of its own) must not wait for itself; nor does it for others.
static void beforeFork() {
  if (!held)
    pthread_rwlock_wrlock(&gate);
}

static void afterForkInParent() {
  if (!held)
    pthread_rwlock_unlock(&gate);
}

static void afterForkInChild() {
  gate = PTHREAD_RWLOCK_INITIALIZER;
  for (int i = 0; i < held; ++i)
    pthread_rwlock_rdlock(&gate);
}

ForkGate::ForkGate() {
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(beforeFork, afterForkInParent, afterForkInChild); });
  pthread_rwlock_rdlock(&gate);
  ++held;
}

ForkGate::~ForkGate() {
  --held;
  pthread_rwlock_unlock(&gate);
}

} // namespace espmm
