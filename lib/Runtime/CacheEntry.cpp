//===- CacheEntry.cpp - the format of what is kept between processes -----===//
//
// An entry is one file, all numbers little-endian:
//
//     magic (8 bytes) | version u32 | length of the key u32 | length of the payload u64 | BLAKE3 of the rest (32 bytes)
//     | key | payload (packed blobs)
//
// The checksum is taken over key and payload; every other field is compared with what it must be, so no byte of a
// damaged file goes unnoticed.
//
#include "CacheEntry.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/BLAKE3.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/EndianStream.h"
#include "llvm/Support/raw_ostream.h"

namespace espmm {

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

std::string sealEntry(llvm::StringRef key, const Blobs &blobs) {
  std::string payload = packBlobs(blobs);
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

std::optional<Blobs> openEntry(llvm::StringRef bytes, llvm::StringRef key, std::string &problem) {
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
  std::optional<Blobs> blobs = unpackBlobs(rest.substr(keySize));
  if (!blobs)
    problem = "holds no packed blobs";
  return blobs;
}

} // namespace espmm
