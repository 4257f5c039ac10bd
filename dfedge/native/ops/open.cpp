#include "open.h"

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>

#include <cstring>
#include <string>
#include <vector>

using executorch::extension::Module;
using executorch::extension::TensorPtr;
using executorch::extension::from_blob;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::MethodMeta;

namespace {

int number(Error error) { return static_cast<int>(error); }

/* All at once: a method that is loaded later would find another state. */
Error load(Module &module) {
    auto names = module.method_names();
    if (!names.ok()) return names.error();
    for (const std::string &name : *names) {
        Error error = module.load_method(name);
        if (error != Error::Ok) return error;
    }
    return Error::Ok;
}

/* Tensors over the caller's memory, with the types and sizes that the program says. */
Error given(const MethodMeta &meta, const dfe_buffer *inputs, size_t count,
            std::vector<TensorPtr> &tensors) {
    if (meta.num_inputs() != count) return Error::InvalidArgument;
    for (size_t i = 0; i < count; i++) {
        auto info = meta.input_tensor_meta(i);
        if (!info.ok()) return info.error();
        if (info->nbytes() != static_cast<size_t>(inputs[i].bytes)) return Error::InvalidArgument;
        auto sizes = info->sizes();
        tensors.push_back(
            from_blob(inputs[i].at, {sizes.begin(), sizes.end()}, info->scalar_type()));
    }
    return Error::Ok;
}

Error copied(const std::vector<EValue> &found, const dfe_buffer *results, size_t count) {
    if (found.size() != count) return Error::InvalidArgument;
    for (size_t i = 0; i < count; i++) {
        auto tensor = found[i].toTensor();
        if (tensor.nbytes() != static_cast<size_t>(results[i].bytes)) return Error::InvalidArgument;
        std::memcpy(results[i].at, tensor.const_data_ptr(), tensor.nbytes());
    }
    return Error::Ok;
}

}  // namespace

extern "C" {

void *dfe_open(const char *path, int *status) {
    auto *module = new Module(path, Module::LoadMode::File, nullptr, nullptr, nullptr, true);
    *status = number(load(*module));
    if (*status == 0) return module;
    delete module;
    return nullptr;
}

int dfe_run(void *program, const char *method, const dfe_buffer *inputs, int32_t input_count,
            const dfe_buffer *results, int32_t result_count) {
    auto &module = *static_cast<Module *>(program);
    auto meta = module.method_meta(method);
    if (!meta.ok()) return number(meta.error());
    std::vector<TensorPtr> tensors;
    Error error = given(*meta, inputs, static_cast<size_t>(input_count), tensors);
    if (error != Error::Ok) return number(error);
    std::vector<EValue> values(tensors.begin(), tensors.end());
    auto found = module.execute(method, values);
    if (!found.ok()) return number(found.error());
    return number(copied(*found, results, static_cast<size_t>(result_count)));
}

void dfe_close(void *program) { delete static_cast<Module *>(program); }

}
