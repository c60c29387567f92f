#include "Launch.h"
#include "espmm/Runtime/Error.h"
#include "llvm/Support/MathExtras.h"

namespace espmm {

std::string bufferName(BufferRef buffer) {
  const char *names[] = {"argument", "plan array", "scratch", "result"};
  return names[unsigned(buffer.kind)] + (" " + std::to_string(buffer.index));
}

/// The bytes that a scratch buffer takes, up to the next one's beginning. Large ones don't all begin at the same place of a
/// page: a processor takes a load for dependent on the store before it where their addresses agree in the low 12 bits, and
/// rows of one node lie at the same place of each buffer.
static llvm::Expected<int64_t> scratchSlot(const Manifest &manifest, size_t index, const Sizes &sizes) {
  llvm::Expected<int64_t> bytes = manifest.scratch[index].evaluate(sizes);
  if (!bytes)
    return withContext("scratch " + llvm::Twine(index), bytes.takeError());
  constexpr int64_t most = int64_t(1) << 62;
  if (*bytes < 0 || *bytes > most)
    return makeError(ESPMM_INVALID, "scratch " + llvm::Twine(index) + " can't have " + llvm::Twine(*bytes) + " bytes");
  constexpr int64_t page = 4096, stagger = page / 2 + scratchAlignment;
  return *bytes < page ? llvm::alignTo(*bytes, scratchAlignment) : llvm::alignTo(*bytes, page) + stagger;
}

llvm::Expected<int64_t> totalScratch(const Manifest &manifest, const Sizes &sizes) {
  int64_t total = 0;
  for (size_t i = 0; i < manifest.scratch.size(); ++i) {
    llvm::Expected<int64_t> slot = scratchSlot(manifest, i, sizes);
    if (!slot)
      return slot.takeError();
    if (llvm::AddOverflow(total, *slot, total))
      return makeError(ESPMM_INVALID, "the program's scratch does not fit in 64 bits");
  }
  // Room to move the beginning to a multiple of the alignment.
  if (total && llvm::AddOverflow(total, scratchAlignment, total))
    return makeError(ESPMM_INVALID, "the program's scratch does not fit in 64 bits");
  return total;
}

llvm::Error LaunchFrame::checkTensor(const TensorInfo &tensor, const llvm::Twine &what, const void *address) const {
  if (LLVM_LIKELY(address && (uintptr_t(address) & uintptr_t(tensor.align - 1)) == 0))
    return llvm::Error::success();
  std::string name = tensor.name.empty() ? what.str() : (what + " (" + tensor.name + ")").str();
  if (address)
    return makeError(ESPMM_INVALID, name + " has to lie at a multiple of " + llvm::Twine(tensor.align) +
                                        " bytes, got the address 0x" + llvm::Twine::utohexstr(uintptr_t(address)));
  int64_t rows = rowCount(tensor.rows, sizes);
  if (!tensor.used || rows == 0 || tensor.width == 0)
    return llvm::Error::success();
  return makeError(ESPMM_INVALID, name + " is null, expected " + llvm::Twine(rows) + " rows of " +
                                      llvm::Twine(tensor.width));
}

llvm::Error LaunchFrame::checkBuffers() const {
  if (sizes.edges < 0 || sizes.receivers < 0 || sizes.senders < 0)
    return makeError(ESPMM_INVALID, "sizes can't be negative, got E = " + llvm::Twine(sizes.edges) +
                                        ", R = " + llvm::Twine(sizes.receivers) +
                                        ", S = " + llvm::Twine(sizes.senders));
  if (buffers.size() != manifest.numBuffers())
    return makeError(ESPMM_INVALID, "the program has " + llvm::Twine(manifest.numBuffers()) + " buffers (" +
                                        llvm::Twine(manifest.arguments.size()) + " arguments, " +
                                        llvm::Twine(manifest.plan.size()) + " plan arrays, " +
                                        llvm::Twine(manifest.results.size()) + " results), got " +
                                        llvm::Twine(buffers.size()));
  for (size_t i = 0; i < manifest.arguments.size(); ++i)
    if (llvm::Error error = checkTensor(manifest.arguments[i], "argument " + llvm::Twine(i), buffers[i]))
      return error;
  for (size_t i = 0; i < manifest.plan.size(); ++i) {
    // A null order means edges that are sorted already, null nodes one segment a node.
    PlanArray array = manifest.plan[i].array;
    bool mayBeNull = array == PlanArray::Order || array == PlanArray::Nodes || (array == PlanArray::Other && sizes.edges == 0);
    if (!mayBeNull && !address({BufferRef::Kind::Plan, unsigned(i)}))
      return makeError(ESPMM_INVALID, "plan array " + llvm::Twine(i) + " is null");
  }
  for (size_t i = 0; i < manifest.results.size(); ++i)
    if (llvm::Error error = checkTensor(manifest.results[i], "result " + llvm::Twine(i),
                                        address({BufferRef::Kind::Result, unsigned(i)})))
      return error;
  return llvm::Error::success();
}

llvm::Error LaunchFrame::prepare(void *scratch, int64_t scratchSize) {
  if (llvm::Error error = checkBuffers())
    return error;
  llvm::Expected<int64_t> needed = totalScratch(manifest, sizes);
  if (!needed)
    return needed.takeError();
  if (*needed > 0 && (!scratch || scratchSize < *needed))
    return makeError(ESPMM_INVALID, "the program needs " + llvm::Twine(*needed) + " bytes of scratch, got " +
                                        (scratch ? llvm::Twine(scratchSize) : llvm::Twine("a null pointer")));
  uintptr_t next = llvm::alignTo(uintptr_t(scratch), scratchAlignment);
  for (size_t i = 0; i < manifest.scratch.size(); ++i) {
    scratchBuffers.push_back(reinterpret_cast<void *>(next));
    next += llvm::cantFail(scratchSlot(manifest, i, sizes)); // totalScratch has seen it
  }
  return llvm::Error::success();
}

void *LaunchFrame::address(BufferRef buffer) const {
  switch (buffer.kind) {
  case BufferRef::Kind::Argument:
    return buffers[buffer.index];
  case BufferRef::Kind::Plan:
    return buffers[manifest.arguments.size() + buffer.index];
  case BufferRef::Kind::Scratch:
    return scratchBuffers[buffer.index];
  case BufferRef::Kind::Result:
    return buffers[manifest.arguments.size() + manifest.plan.size() + buffer.index];
  }
  llvm_unreachable("all kinds of buffers are listed");
}

llvm::Expected<int64_t> LaunchFrame::fillBytes(const FillStep &step) const {
  llvm::Expected<int64_t> bytes = evaluate(step.bytes);
  if (!bytes)
    return withContext("filling " + bufferName(step.buffer), bytes.takeError());
  if (*bytes < 0)
    return makeError(ESPMM_INVALID,
                     "filling " + bufferName(step.buffer) + ": got " + llvm::Twine(*bytes) + " bytes");
  return bytes;
}

llvm::Error LaunchFrame::grid(const LaunchStep &step, int64_t (&dimensions)[3]) const {
  for (unsigned i = 0; i < 3; ++i) {
    llvm::Expected<int64_t> dimension = evaluate(step.grid[i]);
    if (!dimension)
      return withContext("kernel " + step.kernel + ": its grid", dimension.takeError());
    if (*dimension < 0)
      return makeError(ESPMM_INVALID, "kernel " + step.kernel + ": its grid can't have " + llvm::Twine(*dimension) +
                                          " blocks in dimension " + llvm::Twine(i));
    dimensions[i] = *dimension;
  }
  return llvm::Error::success();
}

llvm::Expected<unsigned> LaunchFrame::rows(const LaunchStep &step) const {
  llvm::Expected<int64_t> rows = evaluate(step.rows);
  if (!rows)
    return withContext("kernel " + step.kernel + ": its blocks' rows", rows.takeError());
  if (*rows < 1 || *rows > int64_t(step.block[1]))
    return makeError(ESPMM_INVALID, "kernel " + step.kernel + ": its blocks have 1 to " + llvm::Twine(step.block[1]) +
                                        " rows, got " + llvm::Twine(*rows));
  return unsigned(*rows);
}

llvm::Error LaunchFrame::arguments(const LaunchStep &step, Words &words) const {
  for (const KernelArgument &argument : step.arguments) {
    if (argument.buffer) {
      words.push_back(reinterpret_cast<uintptr_t>(address(*argument.buffer)));
      continue;
    }
    llvm::Expected<int64_t> value = evaluate(argument.value);
    if (!value)
      return withContext("kernel " + step.kernel + ": argument " + llvm::Twine(words.size()), value.takeError());
    words.push_back(uint64_t(*value));
  }
  return llvm::Error::success();
}

} // namespace espmm
