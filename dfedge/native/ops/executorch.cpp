/* The interpreter as ExecuTorch operations: dfedge/exporters/native_op.py declares them.
 *
 * Boxed by hand, because all that a call needs is where its tensors lie.  Registered by a call, not
 * while the library is loaded: so a second library with the same names is refused and not fatal.
 */
#include <executorch/runtime/kernel/kernel_runtime_context.h>
#include <executorch/runtime/kernel/operator_registry.h>

#include <cstring>

#include "open.h"

using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::Kernel;
using executorch::runtime::KernelRuntimeContext;
using executorch::runtime::Span;

namespace {

thread_local int last = DFE_OK;

dfe_buffer buffer(const EValue *value) {
    auto tensor = value->toTensor();
    return {tensor.mutable_data_ptr(), static_cast<int64_t>(tensor.nbytes())};
}

void finish(KernelRuntimeContext &context, int call, const EValue *x, const dfe_buffers &given) {
    auto tensor = x->toTensor();
    last = dfe_run_sized(call, tensor.dim() ? tensor.size(0) : 0, &given);
    if (last != DFE_OK) context.fail(Error::InvalidArgument);
}

/* infer(program, state, x, classes, arena_bytes) -> scores, arena */
void infer(KernelRuntimeContext &context, Span<EValue *> v) {
    dfe_buffers given = {buffer(v[0]), buffer(v[1]), buffer(v[2]), {},
                         buffer(v[5]), {},           buffer(v[6])};
    finish(context, DFE_INFER, v[2], given);
}

/* train(program, state, x, y, call, classes, layers, arena_bytes) -> scores, active, arena */
void train(KernelRuntimeContext &context, Span<EValue *> v) {
    dfe_buffers given = {buffer(v[0]), buffer(v[1]), buffer(v[2]), buffer(v[3]),
                         buffer(v[8]), buffer(v[9]), buffer(v[10])};
    finish(context, static_cast<int>(v[4]->toInt()), v[2], given);
}

/* features(program, state, x, seen_bytes, latent_bytes, arena_bytes) -> seen, latent, arena */
void features(KernelRuntimeContext &context, Span<EValue *> v) {
    dfe_buffers given = {buffer(v[0]), buffer(v[1]), buffer(v[2]), {},
                         buffer(v[6]), buffer(v[7]), buffer(v[8])};
    finish(context, DFE_FEATURES, v[2], given);
}

/* read(state) -> a copy of the block */
void read(KernelRuntimeContext &context, Span<EValue *> v) {
    dfe_buffer state = buffer(v[0]), copy = buffer(v[1]);
    last = copy.bytes < state.bytes ? DFE_SMALL_TENSOR : DFE_OK;
    if (last != DFE_OK) return context.fail(Error::InvalidArgument);
    std::memcpy(copy.at, state.at, static_cast<size_t>(state.bytes));
}

/* write(program, state, block) -> how many bytes were written, after a check of every value */
void write(KernelRuntimeContext &context, Span<EValue *> v) {
    dfe_buffer table = buffer(v[0]), state = buffer(v[1]), block = buffer(v[2]);
    dfe_buffer written = buffer(v[3]);
    auto program = static_cast<const dfe_program *>(table.at);
    bool aligned = reinterpret_cast<uintptr_t>(block.at) % DFE_ALIGN == 0;
    last = aligned ? dfe_check_sized(table) : DFE_MISALIGNED;
    if (last == DFE_OK && (state.bytes < program->state_bytes || block.bytes < state.bytes ||
                           written.bytes < static_cast<int64_t>(sizeof(int32_t))))
        last = DFE_SMALL_TENSOR;
    if (last == DFE_OK) last = dfe_check_state(program, block.at);
    if (last != DFE_OK) return context.fail(Error::InvalidArgument);
    std::memcpy(state.at, block.at, static_cast<size_t>(state.bytes));
    *static_cast<int32_t *>(written.at) = static_cast<int32_t>(state.bytes);
}

}  // namespace

extern "C" {

/* ExecuTorch's error code, 0 when done.  Asked first: ExecuTorch ends a process that registers a name
 * twice. */
int dfe_register(void) {
    static const Kernel kernels[] = {
        Kernel("dfedge_native::infer.out", infer),
        Kernel("dfedge_native::train.out", train),
        Kernel("dfedge_native::features.out", features),
        Kernel("dfedge_native::read.out", read),
        Kernel("dfedge_native::write.out", write),
    };
    for (const Kernel &known : executorch::runtime::get_registered_kernels())
        if (std::strncmp(known.name_, "dfedge_native::", 15) == 0)
            return static_cast<int>(Error::RegistrationAlreadyRegistered);
    return static_cast<int>(executorch::runtime::register_kernels({kernels, 5}));
}

/* The dfe_status of this thread's last call, told once. */
int dfe_last_status(void) {
    int status = last;
    last = DFE_OK;
    return status;
}

}
