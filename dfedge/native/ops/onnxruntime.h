/* Of onnxruntime's C interface what the operations need: no package ships its headers.
 *
 * OrtApi is a table of functions to which releases only append, so a function is known by its place.
 * OrtCustomOp is that of version 16 (onnxruntime 1.16), which later releases read as such.
 */
#ifndef DFE_ONNXRUNTIME_H
#define DFE_ONNXRUNTIME_H

#include <stddef.h>
#include <stdint.h>

enum { ORT_VERSION = 16, ORT_FAIL = 1 };
enum { ORT_UINT8 = 2, ORT_INT8 = 3, ORT_INT32 = 6 };

typedef void (*ort_function)(void);
typedef const ort_function *ort_api;

typedef struct {
    ort_api (*get_api)(uint32_t version);
    const char *(*version)(void);
} ort_api_base;

/* Functions by place; all but create_status give a status, NULL when done. */
#define ORT_CREATE_STATUS(api) ((void *(*)(int, const char *))(api)[0])
#define ORT_CREATE_DOMAIN(api) ((void *(*)(const char *, void **))(api)[26])
#define ORT_DOMAIN_ADD(api) ((void *(*)(void *, const void *))(api)[27])
#define ORT_ADD_DOMAIN(api) ((void *(*)(void *, void *))(api)[28])
#define ORT_TENSOR_DATA(api) ((void *(*)(const void *, void **))(api)[51])
#define ORT_DIMENSION_COUNT(api) ((void *(*)(const void *, size_t *))(api)[61])
#define ORT_DIMENSIONS(api) ((void *(*)(const void *, int64_t *, size_t))(api)[62])
#define ORT_ELEMENT_COUNT(api) ((void *(*)(const void *, size_t *))(api)[64])
#define ORT_TYPE_AND_SHAPE(api) ((void *(*)(const void *, void **))(api)[65])
#define ORT_ATTRIBUTE(api) ((void *(*)(const void *, const char *, int64_t *))(api)[86])
#define ORT_INPUT(api) ((void *(*)(const void *, size_t, const void **))(api)[90])
#define ORT_OUTPUT(api) ((void *(*)(void *, size_t, const int64_t *, size_t, void **))(api)[91])
#define ORT_RELEASE_SHAPE(api) ((void (*)(void *))(api)[99])

typedef struct ort_op ort_op;
struct ort_op {
    uint32_t version;
    void *(*create)(const ort_op *, ort_api, const void *);
    const char *(*name)(const ort_op *);
    const char *(*provider)(const ort_op *);
    int (*input_type)(const ort_op *, size_t);
    size_t (*input_count)(const ort_op *);
    int (*output_type)(const ort_op *, size_t);
    size_t (*output_count)(const ort_op *);
    void (*compute)(void *, void *);
    void (*destroy)(void *);
    int (*input_characteristic)(const ort_op *, size_t);
    int (*output_characteristic)(const ort_op *, size_t);
    int (*input_memory)(const ort_op *, size_t);
    int (*least_inputs)(const ort_op *);
    int (*inputs_alike)(const ort_op *);
    int (*least_outputs)(const ort_op *);
    int (*outputs_alike)(const ort_op *);
    void *(*create_v2)(const ort_op *, ort_api, const void *, void **);
    void *(*compute_v2)(void *, void *);
};

#endif
