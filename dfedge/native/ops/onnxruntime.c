/* The interpreter as onnxruntime operations, domain dfedge.native:
 *
 *     Infer(program, state, x) -> scores, arena
 *     Train(program, state, x, y), TrainFrom(…) -> state', scores, active, arena
 *     Features(program, state, x) -> seen, latent, arena
 *
 * state' is state itself where the caller bound one value to both; else a copy is changed.  The
 * arena is an output that nobody reads: the runtime's own memory.  Attributes first, second, arena:
 * how many values the outputs hold.
 */
#include "onnxruntime.h"

#include <stdlib.h>
#include <string.h>

#include "dfedge.h"

enum { OPS = 4, OPTIONS = 3 };

typedef struct {
    ort_op op; /* first: what onnxruntime hands back */
    int call;
} dfe_op;

typedef struct {
    ort_api api;
    int call;
    int64_t count[OPTIONS];
} dfe_kernel;

static __thread int last = DFE_OK; /* a runtime may be called by many threads */

static int call_of(const ort_op *op) { return ((const dfe_op *)(const void *)op)->call; }
static int trains(int call) { return call == DFE_TRAIN || call == DFE_TRAIN_FROM; }

static const char *name(const ort_op *op) {
    static const char *const names[OPS] = {"Infer", "Train", "TrainFrom", "Features"};
    return names[call_of(op)];
}

static const char *provider(const ort_op *op) {
    (void)op;
    return "CPUExecutionProvider";
}

static size_t input_count(const ort_op *op) { return trains(call_of(op)) ? 4 : 3; }

static int input_type(const ort_op *op, size_t i) {
    static const int types[] = {ORT_INT32, ORT_UINT8, ORT_INT8, ORT_INT32};
    (void)op;
    return types[i];
}

static size_t output_count(const ort_op *op) {
    return trains(call_of(op)) ? 4 : call_of(op) == DFE_INFER ? 2 : 3;
}

static int output_type(const ort_op *op, size_t i) {
    if (i + 1 == output_count(op)) return ORT_UINT8;
    if (call_of(op) == DFE_FEATURES) return ORT_INT8;
    return trains(call_of(op)) && i == 0 ? ORT_UINT8 : ORT_INT32;
}

static int required(const ort_op *op, size_t i) {
    (void)op, (void)i;
    return 0;
}

static int no_variadic(const ort_op *op) {
    (void)op;
    return 0;
}

static void *create(const ort_op *op, ort_api api, const void *info, void **made) {
    static const char *const names[OPTIONS] = {"first", "second", "arena"};
    dfe_kernel k = {api, call_of(op), {0, 0, 0}};
    for (int i = 0; i < OPTIONS; i++) {
        void *status = ORT_ATTRIBUTE(api)(info, names[i], &k.count[i]);
        if (status) return status;
    }
    if (!(*made = malloc(sizeof k))) return ORT_CREATE_STATUS(api)(ORT_FAIL, "no memory");
    memcpy(*made, &k, sizeof k);
    return NULL;
}

/* An input's memory and size; its first dimension where asked for. */
static void *read(const dfe_kernel *k, void *context, size_t i, size_t width, dfe_buffer *to,
                  int64_t *batch) {
    const void *value;
    void *shape, *status = ORT_INPUT(k->api)(context, i, &value);
    if (status || (status = ORT_TENSOR_DATA(k->api)(value, &to->at)) ||
        (status = ORT_TYPE_AND_SHAPE(k->api)(value, &shape)))
        return status;
    size_t count = 0, rank = 0;
    status = ORT_ELEMENT_COUNT(k->api)(shape, &count);
    if (!status) status = ORT_DIMENSION_COUNT(k->api)(shape, &rank);
    if (!status && batch && rank) status = ORT_DIMENSIONS(k->api)(shape, batch, 1);
    ORT_RELEASE_SHAPE(k->api)(shape);
    to->bytes = (int64_t)(count * width);
    return status;
}

static void *made(const dfe_kernel *k, void *context, size_t i, const int64_t *shape, size_t rank,
                  size_t width, dfe_buffer *to) {
    void *value, *status = ORT_OUTPUT(k->api)(context, i, shape, rank, &value);
    if (status || (status = ORT_TENSOR_DATA(k->api)(value, &to->at))) return status;
    to->bytes = (int64_t)width;
    for (size_t axis = 0; axis < rank; axis++) to->bytes *= shape[axis];
    return NULL;
}

static void *compute(void *op_kernel, void *context) {
    const dfe_kernel *k = op_kernel;
    int learns = trains(k->call);
    int64_t batch = 0;
    dfe_buffers b;
    memset(&b, 0, sizeof b);
    void *status;
    if ((status = read(k, context, 0, 4, &b.program, NULL)) ||
        (status = read(k, context, 1, 1, &b.state, NULL)) ||
        (status = read(k, context, 2, 1, &b.x, &batch)) ||
        (learns && (status = read(k, context, 3, 4, &b.y, NULL))))
        return status;
    size_t next = 0;
    if (learns) {
        dfe_buffer to;
        status = made(k, context, next++, &b.state.bytes, 1, 1, &to);
        if (status) return status;
        if (to.at != b.state.at) memcpy(to.at, b.state.at, (size_t)b.state.bytes);
        b.state.at = to.at;
    }
    int64_t scores[2] = {batch, batch > 0 ? k->count[0] / batch : 0};
    if (k->call == DFE_FEATURES)
        status = made(k, context, next++, &k->count[0], 1, 1, &b.first);
    else
        status = made(k, context, next++, scores, 2, 4, &b.first);
    if (!status && k->call != DFE_INFER)
        status = made(k, context, next++, &k->count[1], 1, learns ? 4 : 1, &b.second);
    if (!status) status = made(k, context, next, &k->count[2], 1, 1, &b.arena);
    if (status) return status;
    last = dfe_run_sized(k->call, batch, &b);
    return last == DFE_OK ? NULL : ORT_CREATE_STATUS(k->api)(ORT_FAIL, "dfedge refuses the call");
}

/* What onnxruntime looks for in a library of operations. */
void *RegisterCustomOps(void *options, const ort_api_base *base) {
    static dfe_op ops[OPS];
    static void *domain;
    ort_api api = base->get_api(ORT_VERSION);
    void *status = domain ? NULL : ORT_CREATE_DOMAIN(api)("dfedge.native", &domain);
    for (int call = 0; call < OPS && !status && !ops[call].op.version; call++) {
        ort_op op = {ORT_VERSION, NULL, name, provider, input_type, input_count, output_type,
                     output_count, NULL, free, required, required, required, no_variadic,
                     no_variadic, no_variadic, no_variadic, create, compute};
        ops[call].op = op;
        ops[call].call = call;
        status = ORT_DOMAIN_ADD(api)(domain, &ops[call]);
    }
    return status ? status : ORT_ADD_DOMAIN(api)(options, domain);
}

/* The dfe_status of this thread's last call, told once. */
int dfe_last_status(void) {
    int status = last;
    last = DFE_OK;
    return status;
}
