#include "log_mel.h"

enum {
    HALF = DFE_SOUND_FRAME / 2,
    QUARTER = DFE_SOUND_FRAME / 4,
    HOP = 160,
    FRAMES = 32,
    MELS = 32,
    LENGTH = DFE_SOUND_FRAME + HOP * (FRAMES - 1),
    LAST_OCTAVE = 61,
    LOUDEST = 127
};

/* Shifts of negative numbers are the compiler's affair: what is shifted is lifted above 0. */
#define WAVE_SHIFT 47
#define WAVE_LIFT ((int64_t)1 << 62)
#define WAVE_HALF ((int64_t)1 << (WAVE_SHIFT - 1))
#define SUM_SHIFT 14
#define SUM_LIFT ((int64_t)1 << 40)

/* A frame folded about its middle: cosines are alike there, sines are opposite. */
typedef struct {
    int32_t even[HALF + 1], odd[HALF + 1];
} folded;

/* A sum of real or imaginary parts over the even and the odd places. */
typedef struct {
    int64_t even, odd;
} parts;

static int32_t sample(const int16_t *sound, int32_t length, int32_t at) {
    return at >= 0 && at < length ? sound[at] : 0;
}

static void fold(const int16_t *sound, int32_t length, int32_t start, folded *frame) {
    for (int32_t n = 1; n < HALF; n++) {
        int32_t left = sample(sound, length, start + n);
        int32_t right = sample(sound, length, start + DFE_SOUND_FRAME - n);
        frame->even[n] = left + right;
        frame->odd[n] = left - right;
    }
    frame->even[HALF] = sample(sound, length, start + HALF);
    frame->odd[HALF] = 0;
}

/* round(2^14 window cos), of 2^31 window and 2^30 cos. */
static int32_t wave(int64_t window, int32_t cosine) {
    return (int32_t)((window * cosine + WAVE_HALF + WAVE_LIFT) >> WAVE_SHIFT) -
           (int32_t)(WAVE_LIFT >> WAVE_SHIFT);
}

static int64_t lowered(int64_t sum) {
    return ((sum + SUM_LIFT) >> SUM_SHIFT) - (SUM_LIFT >> SUM_SHIFT);
}

static void spread(const dfe_mel *mel, int64_t real, int64_t imaginary, int64_t *energies) {
    real = lowered(real);
    imaginary = lowered(imaginary);
    int64_t power = real * real + imaginary * imaginary;
    energies[mel->first] += mel->falling * power;
    energies[mel->first + 1] += mel->rising * power;
}

/* Bins k and 128 - k differ by the sign of the odd cosines and of the even sines. */
static void measure(const dfe_log_mel *tables, const folded *frame, int64_t *energies) {
    const int32_t *cosines = tables->cosines;
    for (int32_t m = 0; m < MELS; m++) energies[m] = 0;
    for (int32_t k = 0; k <= QUARTER; k++) {
        parts real = {0, 0}, imaginary = {0, 0};
        for (int32_t n = 1; n <= HALF; n++) {
            int64_t window = (int64_t)cosines[0] - cosines[n];
            int32_t angle = k * n;
            int32_t cosine = wave(window, cosines[angle % DFE_SOUND_FRAME]);
            int32_t sine = wave(window, cosines[(angle + 3 * QUARTER) % DFE_SOUND_FRAME]);
            *(n % 2 ? &real.odd : &real.even) += cosine * frame->even[n];
            *(n % 2 ? &imaginary.odd : &imaginary.even) += sine * frame->odd[n];
        }
        spread(&tables->mels[k], real.even + real.odd, imaginary.even + imaginary.odd, energies);
        if (k < QUARTER)
            spread(&tables->mels[HALF - k], real.even - real.odd, imaginary.odd - imaginary.even,
                   energies);
    }
}

/* How many thresholds an energy reaches. */
static int32_t loudness(const int64_t *octave, int64_t energy) {
    if (!energy) return 0;
    int32_t whole = 0;
    while (whole < LAST_OCTAVE && energy >> (whole + 1)) whole++;
    int32_t count = whole * DFE_SOUND_STEPS;
    for (int32_t r = 0; r < DFE_SOUND_STEPS; r++)
        count += octave[r] >> (LAST_OCTAVE - whole) <= energy;
    return count;
}

static int8_t below(int32_t feature, int32_t steps) {
    return (int8_t)(steps < feature ? feature - steps : 0);
}

void dfe_log_mel_input(const dfe_log_mel *tables, const int16_t *sound, int32_t length, int8_t *x) {
    folded frame;
    int64_t energies[MELS];
    int32_t loudest = 0, done = 0;
    if (length < 0) length = 0;
    int32_t start = length > LENGTH ? (length - LENGTH + 1) / 2 : -((LENGTH - length) / 2);
    for (int32_t f = 0; f < FRAMES; f++) {
        fold(sound, length, start + f * HOP, &frame);
        measure(tables, &frame, energies);
        for (int32_t m = 0; m < MELS; m++, done++) {
            int32_t level = loudness(tables->octave, energies[m]);
            /* What came before is brought down when something louder comes: no second pass. */
            if (level > loudest) {
                for (int32_t i = 0; i < done; i++) x[i] = below(x[i], level - loudest);
                loudest = level;
            }
            x[done] = level ? below(LOUDEST, loudest - level) : 0;
        }
    }
}
