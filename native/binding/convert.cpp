#include "convert.h"

namespace dvcr::binding {
namespace {

std::optional<uint64_t> optional_u64(const Napi::Object& object, const char* name) {
  Napi::Value value = object.Get(name);
  if (!value.IsNumber()) return std::nullopt;
  return static_cast<uint64_t>(value.As<Napi::Number>().DoubleValue());
}

uint64_t u64(const Napi::Object& object, const char* name) {
  return optional_u64(object, name).value_or(0);
}

bool flag(const Napi::Object& object, const char* name) {
  Napi::Value value = object.Get(name);
  return value.IsBoolean() && value.As<Napi::Boolean>().Value();
}

std::string text(const Napi::Object& object, const char* name) {
  Napi::Value value = object.Get(name);
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

LayerCodec codec_of(const std::string& name) {
  if (name == "none") return LayerCodec::kNone;
  return name == "zstd" ? LayerCodec::kZstd : LayerCodec::kGzip;
}

ContainerLayer to_layer(const Napi::Object& object) {
  ContainerLayer layer;
  std::string content = text(object, "content");
  if (content == "tar-or-file") layer.content = LayerContent::kTarOrFile;
  if (content == "file") layer.content = LayerContent::kFile;
  layer.digest = text(object, "digest");
  Napi::Array hidden = object.Get("hidden").As<Napi::Array>();
  for (uint32_t i = 0; i < hidden.Length(); ++i) layer.hidden.push_back(hidden.Get(i).As<Napi::String>());
  return layer;
}

Napi::Array strings(Napi::Env env, const std::vector<std::string>& texts) {
  Napi::Array out = Napi::Array::New(env, texts.size());
  for (uint32_t i = 0; i < out.Length(); ++i) out.Set(i, texts[i]);
  return out;
}

Napi::Value number(Napi::Env env, uint64_t value) {
  return Napi::Number::New(env, static_cast<double>(value));
}

Napi::Object fields(Napi::Env env, const std::vector<Field>& list);

struct ValueWriter {
  Napi::Env env;

  Napi::Value operator()(bool truth) const { return Napi::Boolean::New(env, truth); }
  Napi::Value operator()(uint64_t count) const { return number(env, count); }
  Napi::Value operator()(const std::string& text) const { return Napi::String::New(env, text); }
  Napi::Value operator()(const std::vector<std::string>& texts) const { return strings(env, texts); }
  Napi::Value operator()(const FieldRows& rows) const {
    Napi::Array out = Napi::Array::New(env, rows.size());
    for (uint32_t i = 0; i < out.Length(); ++i) out.Set(i, fields(env, rows[i]));
    return out;
  }
};

Napi::Object fields(Napi::Env env, const std::vector<Field>& list) {
  Napi::Object out = Napi::Object::New(env);
  for (const Field& field : list) out.Set(field.name, std::visit(ValueWriter{env}, field.value));
  return out;
}

Napi::Object image_to_js(Napi::Env env, const ImageReport& image) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("format", image.info.format);
  if (image.info.virtual_size) out.Set("virtualSize", number(env, *image.info.virtual_size));
  out.Set("clusterSize", number(env, image.info.cluster_size));
  Napi::Object specific = fields(env, image.info.specific);
  out.Set("specific", specific);
  out.Set("warnings", strings(env, image.info.warnings));
  out.Set("compressions", strings(env, image.compressions));
  return out;
}

Napi::Object checksums_to_js(Napi::Env env, const std::vector<Checksum>& checksums) {
  Napi::Object out = Napi::Object::New(env);
  for (const Checksum& checksum : checksums) out.Set(checksum.algorithm, checksum.expected);
  return out;
}

Napi::Object session_to_js(Napi::Env env, const SessionResult& result) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("image", image_to_js(env, result.image));
  out.Set("storedFormat", result.stored_format);
  out.Set("sourceSize", number(env, result.source_size));
  out.Set("scratchPeak", number(env, result.scratch_peak));
  out.Set("checksums", checksums_to_js(env, result.checksums));
  return out;
}

Napi::Object imported_to_js(Napi::Env env, const Imported& imported) {
  Napi::Object out = session_to_js(env, imported.result);
  out.Set("diffId", "sha256:" + imported.layer.diff_id);
  out.Set("layerDigest", "sha256:" + imported.layer.digest);
  out.Set("layerSize", number(env, imported.layer.layer_size));
  out.Set("diskSize", number(env, imported.layer.disk_size));
  out.Set("sizeFrom", imported.layer.size_from);
  return out;
}

Napi::Object exported_to_js(Napi::Env env, const Exported& exported) {
  Napi::Object out = session_to_js(env, exported.result);
  out.Set("diskSize", number(env, exported.disk.content_size));
  out.Set("bytesWritten", number(env, exported.written));
  out.Set("diskChecksums", checksums_to_js(env, exported.disk.checksums));
  out.Set("outputWarnings", strings(env, exported.warnings));
  return out;
}

struct EventWriter {
  Napi::Env env;
  Napi::Object out;

  void operator()(const BatchReleased& event) {
    out.Set("type", "released");
    out.Set("batch", number(env, event.batch));
  }
  void operator()(const OutputFilled& event) {
    out.Set("type", "output");
    out.Set("index", number(env, event.index));
    out.Set("length", number(env, event.length));
  }
  void operator()(const BeginAsked& event) {
    out.Set("type", "begin");
    out.Set("size", number(env, event.size));
    out.Set("sizeFrom", event.from);
    out.Set("attempt", number(env, event.attempt));
  }
  void operator()(const RangeAsked& event) {
    out.Set("type", "range");
    out.Set("offset", number(env, event.offset));
    out.Set("length", number(env, event.length));
  }
  void operator()(const ImageFound& event) {
    out.Set("type", "image");
    out.Set("image", image_to_js(env, event.report));
  }
  void operator()(const Inspected& event) {
    out.Set("type", "inspected");
    out.Set("image", image_to_js(env, event.report));
  }
  void operator()(const Imported& event) {
    out.Set("type", "finished");
    out.Set("result", imported_to_js(env, event));
  }
  void operator()(const Exported& event) {
    out.Set("type", "exported");
    out.Set("result", exported_to_js(env, event));
  }
  void operator()(const LayerListed& event) {
    out.Set("type", "layer");
    out.Set("disk", event.listing.disk);
    out.Set("hides", strings(env, event.listing.hides));
    out.Set("seen", strings(env, event.listing.seen));
  }
  void operator()(const Failed& event) {
    out.Set("type", "failed");
    out.Set("code", event.code);
    out.Set("message", event.message);
    if (event.actual_size) out.Set("actualSize", number(env, *event.actual_size));
  }
};

std::vector<Checksum> to_checksums(const Napi::Array& array) {
  std::vector<Checksum> checksums;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    Napi::Object checksum = array.Get(i).As<Napi::Object>();
    checksums.push_back({text(checksum, "algorithm"), text(checksum, "expected")});
  }
  return checksums;
}

/// What import and export have in common.
void conversion_options(const Napi::Object& mode, SessionOptions& session) {
  session.threads = static_cast<unsigned>(u64(mode, "threads"));
  session.declared_size = optional_u64(mode, "declaredSize");
  session.replayable = flag(mode, "replayable");
  session.checksums = to_checksums(mode.Get("checksums").As<Napi::Array>());
}

ImportMode to_import(const Napi::Object& mode, SessionOptions& session) {
  ImportMode import;
  session.keep_source_format = flag(mode, "keepSourceFormat");
  import.layer.codec = codec_of(text(mode, "codec"));
  import.layer.threads = session.threads;
  import.layer.allow_nested = flag(mode, "allowNested");
  import.layer.scratch_directory = session.scratch_directory;
  import.layer.memory = SharedMemory::Unwrap(mode.Get("memory").As<Napi::Object>())->memory();
  Napi::Array buffers = mode.Get("buffers").As<Napi::Array>();
  for (uint32_t i = 0; i < buffers.Length(); ++i) {
    Napi::Uint8Array buffer = buffers.Get(i).As<Napi::Uint8Array>();
    import.buffers.emplace_back(buffer.Data(), buffer.ByteLength());
  }
  return import;
}

ExportMode to_export(const Napi::Object& mode, const SessionOptions& session) {
  ExportMode output;
  const std::string kind = text(mode, "kind");
  if (kind == "device") output.kind = ExportMode::Kind::kDevice;
  if (kind == "pipe") output.kind = ExportMode::Kind::kPipe;
  if (kind == "qcow2") output.kind = ExportMode::Kind::kQcow2;
  output.fd = static_cast<int>(u64(mode, "outputFd"));
  const std::string compression = text(mode, "compression");
  if (compression == "zlib") output.compression = Qcow2Compression::kZlib;
  if (compression == "zstd") output.compression = Qcow2Compression::kZstd;
  output.disk.threads = session.threads;
  output.disk.allow_nested = flag(mode, "allowNested");
  output.disk.size = u64(mode, "diskSize");
  output.disk.verify = flag(mode, "verify");
  output.disk.size_is_limit = flag(mode, "sizeIsLimit");
  output.disk.checksums = to_checksums(mode.Get("diskChecksums").As<Napi::Array>());
  return output;
}

}  // namespace

JobConfig to_config(const Napi::Object& options) {
  JobConfig config;
  if (auto fd = optional_u64(options, "fd")) config.fd = static_cast<int>(*fd);
  config.size = optional_u64(options, "size");
  config.range_size = optional_u64(options, "rangeSize");

  SessionOptions& session = config.session;
  session.open.declared_format = text(options, "declaredFormat");
  session.open.source_is_disk = flag(options, "sourceIsDisk");
  session.scratch_directory = text(options, "scratchDirectory");
  if (flag(options, "framedSnappy")) session.declared_compression = Compression::kSnappy;
  if (options.Get("containerLayer").IsObject()) {
    session.container_layer = to_layer(options.Get("containerLayer").As<Napi::Object>());
  }
  Napi::Object limits = options.Get("limits").As<Napi::Object>();
  session.limits.max_virtual_size = u64(limits, "maxVirtualSize");
  session.limits.max_scratch = u64(limits, "maxScratch");
  session.limits.max_decoder_memory = u64(limits, "maxDecoderMemory");

  Napi::Object mode = options.Get("mode").As<Napi::Object>();
  const std::string name = text(mode, "name");
  if (name == "list") {
    config.mode = ListMode{};
  } else if (name == "inspect") {
    config.mode = InspectMode{};
  } else {
    conversion_options(mode, session);
    if (name == "export") {
      config.mode = to_export(mode, session);
    } else {
      config.mode = to_import(mode, session);
    }
  }
  return config;
}

std::vector<uint8_t> to_vector(const Napi::Value& bytes) {
  Napi::Uint8Array array = bytes.As<Napi::Uint8Array>();
  return {array.Data(), array.Data() + array.ByteLength()};
}

std::vector<Bytes> to_chunks(const Napi::Array& chunks) {
  std::vector<Bytes> out;
  out.reserve(chunks.Length());
  for (uint32_t i = 0; i < chunks.Length(); ++i) {
    Napi::Uint8Array chunk = chunks.Get(i).As<Napi::Uint8Array>();
    out.emplace_back(chunk.Data(), chunk.ByteLength());
  }
  return out;
}

void free_chunks(const Napi::Array& chunks) {
  for (uint32_t i = 0; i < chunks.Length(); ++i) {
    Napi::Uint8Array chunk = chunks.Get(i).As<Napi::Uint8Array>();
    Napi::ArrayBuffer memory = chunk.ArrayBuffer();
    if (chunk.ByteLength() == memory.ByteLength()) memory.Detach();
  }
}

Napi::Object to_event(Napi::Env env, const Event& event) {
  EventWriter writer{env, Napi::Object::New(env)};
  std::visit(writer, event);
  return writer.out;
}

}  // namespace dvcr::binding
