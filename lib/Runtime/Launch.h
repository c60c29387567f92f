//===- Launch.h - interpreting a manifest's steps ------------------------===//
#ifndef ESPMM_LIB_RUNTIME_LAUNCH_H
#define ESPMM_LIB_RUNTIME_LAUNCH_H

#include "espmm/Runtime/Manifest.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"

namespace espmm {

/// Scratch buffers start at multiples of this.
constexpr int64_t scratchAlignment = 256;

/// Bytes for all scratch buffers, wherever the pointer that is handed in lies; 0 if there is nothing to store.
llvm::Expected<int64_t> totalScratch(const Manifest &manifest, const Sizes &sizes);

/// The sizes and addresses of one launch.
class LaunchFrame {
public:
  LaunchFrame(const Manifest &manifest, const Sizes &sizes, llvm::ArrayRef<void *> buffers)
      : manifest(manifest), sizes(sizes), buffers(buffers) {}

  /// Checks what the caller handed over, and places the scratch buffers.
  llvm::Error prepare(void *scratch, int64_t scratchSize);

  void *address(BufferRef buffer) const;
  llvm::Expected<int64_t> evaluate(const Expression &expression) const { return expression.evaluate(sizes); }

  /// How many bytes to fill, not negative.
  llvm::Expected<int64_t> fillBytes(const FillStep &step) const;

  /// The grid's dimensions. With a 0 among them there is nothing to launch.
  llvm::Error grid(const LaunchStep &step, int64_t (&dimensions)[3]) const;

  /// How many rows the blocks have.
  llvm::Expected<unsigned> rows(const LaunchStep &step) const;

  /// One word for each argument of the kernel.
  using Words = llvm::SmallVector<uint64_t, 48>;
  llvm::Error arguments(const LaunchStep &step, Words &words) const;

private:
  llvm::Error checkTensor(const TensorInfo &tensor, const llvm::Twine &what, const void *address) const;
  llvm::Error checkBuffers() const;

  const Manifest &manifest;
  const Sizes sizes;
  const llvm::ArrayRef<void *> buffers;
  llvm::SmallVector<void *, 32> scratchBuffers;
};

/// How a message calls a buffer: "result 0".
std::string bufferName(BufferRef buffer);

} // namespace espmm

#endif
