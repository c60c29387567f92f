//===- Operators.h - torch.ops.espmm -------------------------------------===//
#ifndef ESPMM_LIB_TORCH_OPERATORS_H
#define ESPMM_LIB_TORCH_OPERATORS_H

#include <cstddef>
#include <cstdint>

namespace espmm::torch_ops {

/// How many tensors a program may have: those of the fourth derivative with respect to everything, and two more.
constexpr size_t maxTensors = 20;

// Operators as the stable ABI calls them: arguments are taken from the stack, and results left there.
void run(uint64_t *stack, uint64_t arguments, uint64_t results);
void plan(uint64_t *stack, uint64_t arguments, uint64_t results);
void program(uint64_t *stack, uint64_t arguments, uint64_t results);
void launch(uint64_t *stack, uint64_t arguments, uint64_t results);
void defineLaunch(uint64_t *stack, uint64_t arguments, uint64_t results);

} // namespace espmm::torch_ops

#endif
