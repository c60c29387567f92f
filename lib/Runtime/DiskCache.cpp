//===- DiskCache.cpp - compiled code kept between processes --------------===//
//
// An entry is one file, all numbers little-endian:
//
//     magic (8 bytes) | version u32 | length of the key u32 | length of the payload u64 | BLAKE3 of the rest (32 bytes)
//     | key | payload (packed blobs)
//
// The checksum is taken over key and payload; every other field is compared with what it must be, so no byte of a
// damaged file goes unnoticed.
//
#include "espmm/Runtime/DiskCache.h"
#include "espmm/Runtime/Warning.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/BLAKE3.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/EndianStream.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <atomic>
#include <cstdlib>

namespace espmm {

namespace fs = llvm::sys::fs;
namespace endian = llvm::support::endian;

static constexpr llvm::StringLiteral magic("espmm\r\n\x1a"); // "\r\n" notices a transfer as text
static constexpr uint32_t version = 1;
static constexpr size_t checksumBytes = 32;
static constexpr size_t headerBytes = magic.size() + 4 + 4 + 8 + checksumBytes;

std::string cacheKey(llvm::ArrayRef<llvm::StringRef> parts) {
  llvm::BLAKE3 hasher;
  for (llvm::StringRef part : parts) {
    uint8_t length[8];
    endian::write64le(length, part.size());
    hasher.update(length);
    hasher.update(part);
  }
  return llvm::toHex(hasher.final(), /*LowerCase=*/true);
}

std::string packBlobs(const Blobs &blobs) {
  std::string bytes;
  llvm::raw_string_ostream os(bytes);
  endian::Writer writer(os, llvm::endianness::little);
  writer.write<uint32_t>(blobs.size());
  for (auto &[name, content] : blobs) {
    writer.write<uint32_t>(name.size());
    writer.write<uint64_t>(content.size());
    os << name << content;
  }
  return bytes;
}

std::optional<Blobs> unpackBlobs(llvm::StringRef bytes) {
  if (bytes.size() < 4)
    return std::nullopt;
  uint32_t count = endian::read32le(bytes.data());
  bytes = bytes.drop_front(4);
  Blobs blobs;
  for (uint32_t i = 0; i < count; ++i) {
    if (bytes.size() < 12)
      return std::nullopt;
    uint64_t nameSize = endian::read32le(bytes.data());
    uint64_t contentSize = endian::read64le(bytes.data() + 4);
    bytes = bytes.drop_front(12);
    if (nameSize > bytes.size() || contentSize > bytes.size() - nameSize)
      return std::nullopt;
    blobs.emplace(bytes.substr(0, nameSize), bytes.substr(nameSize, contentSize));
    bytes = bytes.drop_front(nameSize + contentSize);
  }
  if (!bytes.empty() || blobs.size() != count)
    return std::nullopt;
  return blobs;
}

static std::string seal(llvm::StringRef key, llvm::StringRef payload) {
  llvm::BLAKE3 hasher;
  hasher.update(key);
  hasher.update(payload);
  std::string bytes;
  llvm::raw_string_ostream os(bytes);
  endian::Writer writer(os, llvm::endianness::little);
  os << magic;
  writer.write<uint32_t>(version);
  writer.write<uint32_t>(key.size());
  writer.write<uint64_t>(payload.size());
  os << llvm::toStringRef(hasher.final<checksumBytes>()) << key << payload;
  return bytes;
}

/// The payload, or nothing and what is wrong.
static std::optional<llvm::StringRef> unseal(llvm::StringRef bytes, llvm::StringRef key, const char *&problem) {
  if (bytes.size() < headerBytes || !bytes.starts_with(magic)) {
    problem = "is not an entry of this cache";
    return std::nullopt;
  }
  const char *field = bytes.data() + magic.size();
  if (endian::read32le(field) != version) {
    problem = "has another format version";
    return std::nullopt;
  }
  uint64_t keySize = endian::read32le(field + 4);
  uint64_t payloadSize = endian::read64le(field + 8);
  llvm::StringRef checksum(field + 16, checksumBytes);
  llvm::StringRef rest = bytes.drop_front(headerBytes);
  if (keySize > rest.size() || payloadSize != rest.size() - keySize) {
    problem = "has the wrong length";
    return std::nullopt;
  }
  if (llvm::toStringRef(llvm::BLAKE3::hash<checksumBytes>(llvm::arrayRefFromStringRef(rest))) != checksum) {
    problem = "is damaged: its checksum does not match";
    return std::nullopt;
  }
  if (rest.substr(0, keySize) != key) {
    problem = "belongs to another key";
    return std::nullopt;
  }
  return rest.substr(keySize);
}

DiskCache DiskCache::fromEnvironment() {
  auto variable = [](const char *name) { return llvm::StringRef(std::getenv(name) ? std::getenv(name) : ""); };
  if (variable("ESPMM_CACHE") == "0")
    return DiskCache("");
  if (llvm::StringRef folder = variable("ESPMM_CACHE_DIR"); !folder.empty())
    return DiskCache(folder.str());
  llvm::SmallString<128> folder = variable("XDG_CACHE_HOME");
  // The XDG rules say that a relative path there is to be ignored.
  if (!llvm::sys::path::is_absolute(folder)) {
    folder.clear();
    if (!llvm::sys::path::home_directory(folder))
      return DiskCache("");
    llvm::sys::path::append(folder, ".cache");
  }
  llvm::sys::path::append(folder, "espmm");
  return DiskCache(folder.str().str());
}

std::string DiskCache::path(llvm::StringRef key) const {
  llvm::SmallString<128> result(folder_);
  llvm::sys::path::append(result, key + ".espmm");
  return result.str().str();
}

/// Keys become file names.
static bool isKey(llvm::StringRef key) {
  return key.size() >= 8 && key.size() <= 128 && llvm::all_of(key, llvm::isHexDigit);
}

std::optional<Blobs> DiskCache::get(llvm::StringRef key) const {
  if (!enabled() || !isKey(key))
    return std::nullopt;
  std::string name = path(key);
  // Volatile: read, not mapped, as a mapped file that shrinks kills the process.
  auto file = llvm::MemoryBuffer::getFile(name, /*IsText=*/false, /*RequiresNullTerminator=*/false,
                                          /*IsVolatile=*/true);
  if (!file) {
    if (file.getError() != std::errc::no_such_file_or_directory && file.getError() != std::errc::not_a_directory)
      warn("the cache entry " + name + " can't be read: " + file.getError().message());
    return std::nullopt;
  }
  const char *problem = "holds no packed blobs";
  std::optional<llvm::StringRef> payload = unseal((*file)->getBuffer(), key, problem);
  std::optional<Blobs> blobs = payload ? unpackBlobs(*payload) : std::nullopt;
  if (!blobs)
    warn("the cache entry " + name + " " + problem + "; it is compiled anew");
  return blobs;
}

/// Writes `bytes` to a new file in the folder and renames it to `target`.
static std::error_code writeAtomically(llvm::StringRef folder, llvm::StringRef target, llvm::StringRef bytes) {
  if (std::error_code error = fs::create_directories(folder, /*IgnoreExisting=*/true, fs::owner_all))
    return error;
  llvm::SmallString<128> model(folder);
  llvm::sys::path::append(model, ".tmp-%%%%%%%%%%%%%%%%");
  llvm::SmallString<128> temporary;
  int descriptor = -1;
  if (std::error_code error = fs::createUniqueFile(model, descriptor, temporary, fs::OF_None,
                                                   fs::owner_read | fs::owner_write))
    return error;
  llvm::raw_fd_ostream os(descriptor, /*shouldClose=*/true, /*unbuffered=*/true);
  os << bytes;
  os.close();
  std::error_code error = os.error();
  os.clear_error(); // else the stream's destructor ends the process
  if (!error)
    error = fs::rename(temporary, target);
  if (error)
    fs::remove(temporary);
  return error;
}

bool DiskCache::put(llvm::StringRef key, const Blobs &blobs) const {
  if (!enabled() || !isKey(key))
    return false;
  std::error_code error = writeAtomically(folder_, path(key), seal(key, packBlobs(blobs)));
  if (!error)
    return true;
  static std::atomic<bool> warned{false};
  if (!warned.exchange(true))
    warn("compiled code can't be kept in " + llvm::Twine(folder_) + " (" + error.message() +
         "); going on without (ESPMM_CACHE_DIR names another folder, ESPMM_CACHE=0 switches the cache off)");
  return false;
}

} // namespace espmm
