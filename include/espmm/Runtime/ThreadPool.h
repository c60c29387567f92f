//===- ThreadPool.h - host kernels over several threads ------------------===//
#ifndef ESPMM_RUNTIME_THREADPOOL_H
#define ESPMM_RUNTIME_THREADPOOL_H

#include <cstdint>

namespace espmm {

/// What the compiler emits for the CPU: one task of a launch.
using HostKernel = void (*)(const uint64_t *args, int64_t task);

/// Calls kernel(args, task) for every task in [0, tasks), in any order, on up to `threads` threads of which the
/// caller is one; returns when all are done. May be called from any thread, from inside a task, and after fork().
void parallelFor(HostKernel kernel, const uint64_t *args, int64_t tasks, int threads);

/// At least 1; a smaller number counts as 1.
void setNumThreads(int threads);
/// The same, unless setNumThreads was called before: for frameworks, whose own number this one goes by.
void followNumThreads(int threads);
int numThreads();

/// The processors that this process may run on.
int hardwareThreads();

} // namespace espmm

#endif
