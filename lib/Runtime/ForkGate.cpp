#include "espmm/Runtime/ForkGate.h"
#include <mutex>
#include <pthread.h>

namespace espmm {

// Readers come first by default, so that a holder that takes it again does not wait for a fork that waits for it.
static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER;

ForkGate::ForkGate() {
  static std::once_flag once;
  std::call_once(once, [] {
    pthread_atfork([] { pthread_rwlock_wrlock(&gate); }, [] { pthread_rwlock_unlock(&gate); },
                   [] { gate = PTHREAD_RWLOCK_INITIALIZER; });
  });
  pthread_rwlock_rdlock(&gate);
}

ForkGate::~ForkGate() { pthread_rwlock_unlock(&gate); }

} // namespace espmm
