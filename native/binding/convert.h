// Between JavaScript values and the core's plain structs. Argument checking is src/native's job; this only converts.
#pragma once

#include <napi.h>

#include "job.h"

namespace dvcr::binding {

/// `new ImportMemory(fullImports)`: what the imports of a process share, made by JavaScript and handed to each job.
class SharedMemory final : public Napi::ObjectWrap<SharedMemory> {
 public:
  static Napi::Function define(Napi::Env env) { return DefineClass(env, "ImportMemory", {}); }
  explicit SharedMemory(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<SharedMemory>(info),
        memory_(std::make_shared<ImportMemory>(info[0].As<Napi::Number>().Uint32Value())) {}
  [[nodiscard]] const std::shared_ptr<ImportMemory>& memory() const { return memory_; }

 private:
  std::shared_ptr<ImportMemory> memory_;
};

/// Says what the container layer holds, with LayerListed.
struct ListMode {};
/// Says what the source is, from its headers, with Inspected.
struct InspectMode {};
/// Makes a container layer of the source, with Imported at the end.
struct ImportMode {
  LayerOptions layer;
  std::vector<MutableBytes> buffers;  ///< kept alive by the JavaScript object
};
/// Writes the source's disk to a descriptor, with Exported at the end.
struct ExportMode {
  enum class Kind : uint8_t { kFile, kDevice, kPipe, kQcow2 };
  Kind kind = Kind::kFile;
  int fd = -1;  ///< stays JavaScript's
  Qcow2Compression compression = Qcow2Compression::kNone;
  DiskOptions disk;
};
using Mode = std::variant<ListMode, InspectMode, ImportMode, ExportMode>;

/// Everything a job needs, copied out of JavaScript before a thread starts.
struct JobConfig {
  SessionOptions session;
  std::optional<int> fd;               ///< read this descriptor; else chunks are pushed
  std::optional<uint64_t> size;        ///< exact source bytes
  std::optional<uint64_t> range_size;  ///< set when the event loop answers ranges
  Mode mode;
};

JobConfig to_config(const Napi::Object& options);
std::vector<uint8_t> to_vector(const Napi::Value& bytes);
std::vector<Bytes> to_chunks(const Napi::Array& chunks);
/// Gives the memory of `chunks` back; they are empty then. One that shares its memory with others is left to the
/// garbage collector.
void free_chunks(const Napi::Array& chunks);
/// {type, ...fields} as src/native/addon.ts declares them.
Napi::Object to_event(Napi::Env env, const Event& event);

}  // namespace dvcr::binding
