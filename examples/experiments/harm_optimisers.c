/* Forms of the weight update that `harm_optimisers.py` compares.  This stands in the place of
   write_back in a copy of dfedge/native/src/update.c, and is part of no program.

   u = acc / 2^shift is the wanted move, in units of a weight.  `lab_side` is a second state, one
   value for each weight. */
enum { DITHER, FEEDBACK_8, FEEDBACK_4, MOMENTUM, SIGN, SIGN_MOMENTUM, CHANNELS };
enum { LAB_FROZEN = 48 };

static int32_t lab_form;
static const int8_t *lab_base;
static int8_t *lab_side, *lab_delta;

/* A form begins on the state at `base`; `delta` is added to each weight's shift in CHANNELS. */
void lab_begin(int32_t form, const int8_t *base, int8_t *side, int8_t *delta) {
    lab_form = form;
    lab_base = base;
    lab_side = side;
    lab_delta = delta;
}

/* u in units of 2^-bits, dithered. */
static int32_t lab_fine(int32_t acc, int32_t shift, int32_t bits, uint32_t place) {
    return shift >= bits ? dfe_round(acc, shift - bits, place) : acc * (1 << (bits - shift));
}

static int32_t lab_feedback(int32_t acc, int32_t shift, int32_t bits, uint32_t place, int8_t *kept) {
    int32_t wanted = lab_fine(acc, shift, bits, place) + *kept;
    int32_t move = (wanted + (1 << (bits - 1))) >> bits;
    *kept = (int8_t)(wanted - move * (1 << bits));
    return move;
}

/* m' = m + (u - m) / 8, in units of 1/256. */
static int32_t lab_average(int32_t acc, int32_t shift, uint32_t place, int8_t *kept) {
    int32_t u = dfe_clamp(lab_fine(acc, shift, 8, place), -1024, 1024);
    *kept = (int8_t)dfe_clamp(*kept + dfe_round(u - *kept, 3, place * 3), -127, 127);
    return *kept;
}

static int32_t lab_size(int32_t v) { return v < 0 ? -v : v; }

static void write_back(const int32_t *acc, int32_t n, int8_t *w, int32_t shift, uint32_t place,
                       uint32_t step) {
    int8_t *side = lab_side + (w - lab_base), *delta = lab_delta + (w - lab_base);
    int32_t seen[DFE_OUTPUTS], mean = 0; /* of |u| or |m| over these weights, in units of 1/256 */
    if (shift >= LAB_FROZEN) return;
    for (int32_t i = 0; i < n; i++) {
        uint32_t at = place + (uint32_t)i * step;
        if (lab_form == SIGN) seen[i] = lab_fine(acc[i], shift, 8, at);
        else if (lab_form >= MOMENTUM && lab_form != CHANNELS)
            seen[i] = lab_average(acc[i], shift, at, side + i);
        else seen[i] = 0;
        mean += lab_size(seen[i]);
    }
    mean = (mean + n / 2) / n;
    for (int32_t i = 0; i < n; i++) {
        uint32_t at = place + (uint32_t)i * step;
        int32_t move, v = seen[i];
        switch (lab_form) {
        case FEEDBACK_8: move = lab_feedback(acc[i], shift, 8, at, side + i); break;
        case FEEDBACK_4: move = lab_feedback(acc[i], shift, 4, at, side + i); break;
        case MOMENTUM: move = dfe_round(v, 8, at); break;
        case SIGN:
        case SIGN_MOMENTUM: move = dfe_round(v == 0 ? 0 : v < 0 ? -mean : mean, 8, at); break;
        case CHANNELS: move = dfe_round(acc[i], dfe_clamp(shift + delta[i], 0, LAB_FROZEN - 1), at); break;
        default: move = dfe_round(acc[i], shift, at);
        }
        w[i] = (int8_t)dfe_clamp(w[i] - move, -DFE_MAX, DFE_MAX);
    }
}
