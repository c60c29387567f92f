# Writes a header that defines ESPMM_BUILD_ID as a hash of all sources.
set(all "")
foreach(source IN LISTS SOURCES)
  file(SHA256 ${source} hash)
  string(APPEND all ${hash})
endforeach()
string(SHA256 id "${all}")
file(WRITE ${OUT} "#define ESPMM_BUILD_ID \"${id}\"\n")
