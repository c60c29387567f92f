//===- GlibcFloor.cpp - keeps the library loadable on older systems -------===//
//
// LLVMSupport asks for arc4random, which glibc has from 2.36 on; with a definition of our own, 2.34 suffices.
//
#include <cstdint>
#include <sys/random.h>

extern "C" __attribute__((visibility("hidden"))) uint32_t arc4random(void) {
  uint32_t value = 0;
  while (getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value)) {
  }
  return value;
}
