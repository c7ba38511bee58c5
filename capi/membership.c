/* Readers of memberships and plans: bytes that orders.go lays out, in the machine's byte order. */
#include "internal.h"

struct membership_head {
    uint32_t mark, len;
    uint64_t index;
    uint32_t flags, members, voters, learners;
};

struct member_piece {
    uint64_t id;
    unsigned char store[16];
    uint32_t roles, address;
};

struct plan_head {
    uint32_t mark, len;
    uint32_t committed;
    int32_t refused, before, during, after;
    uint32_t stages, members, text;
};

struct stage_piece {
    uint32_t at, len;
};

struct plan_member_piece {
    uint64_t id;
    unsigned char store[16];
    int64_t silent;
    uint64_t behind;
    uint32_t flags, address;
};

static oar_status malformed(const char *what) { return oar_failed(OAR_ERR_MALFORMED, "these bytes are no %s", what); }

/* Copies what stands at a place, if it is inside. */
static bool copy(void *to, size_t size, const void *from, size_t len, size_t at) {
    if (at > len || size > len - at) return false;
    memcpy(to, (const unsigned char *)from + at, size);
    return true;
}

/* A text inside, or NULL. */
static const char *text(const void *from, size_t len, size_t at) {
    const char *found = (const char *)from + at;
    return at < len && memchr(found, 0, len - at) != NULL ? found : NULL;
}

static bool membership(struct membership_head *h, const void *result, size_t len) {
    return result != NULL && copy(h, sizeof *h, result, len, 0) && h->mark == OAR_MARK_MEMBERSHIP && h->len == len &&
           h->members <= (len - sizeof *h) / sizeof(struct member_piece);
}

static bool plan(struct plan_head *h, const void *result, size_t len) {
    if (result == NULL || !copy(h, sizeof *h, result, len, 0) || h->mark != OAR_MARK_PLAN || h->len != len) return false;
    size_t room = len - sizeof *h;
    if (h->stages >= room / sizeof(struct stage_piece)) return false;
    room -= ((size_t)h->stages + 1) * sizeof(struct stage_piece);
    return h->members <= room / sizeof(struct plan_member_piece);
}

static oar_status number_in(uint32_t number, uint32_t count, const char *what) {
    if (number < count) return OAR_OK;
    return oar_failed(OAR_ERR_NOT_FOUND, "there is no %s %u, they are 0 to %lld", what, number, (long long)count - 1);
}

oar_status oar_membership_read(const void *result, size_t result_len, oar_membership *out) {
    OAR_ENTER();
    struct membership_head h;
    oar_membership m = {.struct_size = sizeof m};
    OAR_TRY(oar_give(out, &m, sizeof m, "oar_membership", sizeof m));
    if (!membership(&h, result, result_len)) return malformed("membership");
    m.flags = h.flags;
    m.index = h.index;
    m.members = h.members;
    m.voters = h.voters;
    m.learners = h.learners;
    return oar_give(out, &m, sizeof m, "oar_membership", sizeof m);
}

oar_status oar_member_read(const void *result, size_t result_len, uint32_t number, oar_member *member) {
    OAR_ENTER();
    struct membership_head h;
    struct member_piece piece;
    oar_member m = {.struct_size = sizeof m};
    OAR_TRY(oar_give(member, &m, sizeof m, "oar_member", sizeof m));
    if (!membership(&h, result, result_len)) return malformed("membership");
    OAR_TRY(number_in(number, h.members, "member"));
    if (!copy(&piece, sizeof piece, result, result_len, sizeof h + number * sizeof piece)) return malformed("membership");
    m.roles = piece.roles;
    m.id = piece.id;
    memcpy(m.store, piece.store, sizeof m.store);
    if ((m.address = text(result, result_len, piece.address)) == NULL) return malformed("membership");
    return oar_give(member, &m, sizeof m, "oar_member", sizeof m);
}

oar_status oar_plan_read(const void *result, size_t result_len, oar_plan *out) {
    OAR_ENTER();
    struct plan_head h;
    oar_plan p = {.struct_size = sizeof p};
    OAR_TRY(oar_give(out, &p, sizeof p, "oar_plan", sizeof p));
    if (!plan(&h, result, result_len)) return malformed("plan");
    p.refused = h.refused;
    if ((p.refused_text = text(result, result_len, h.text)) == NULL) return malformed("plan");
    p.committed = h.committed;
    p.stages = h.stages;
    p.members = h.members;
    p.before = h.before;
    p.during = h.during;
    p.after = h.after;
    return oar_give(out, &p, sizeof p, "oar_plan", sizeof p);
}

oar_status oar_plan_member_read(const void *result, size_t result_len, uint32_t number, oar_plan_member *member) {
    OAR_ENTER();
    struct plan_head h;
    struct plan_member_piece piece;
    oar_plan_member m = {.struct_size = sizeof m};
    OAR_TRY(oar_give(member, &m, sizeof m, "oar_plan_member", sizeof m));
    if (!plan(&h, result, result_len)) return malformed("plan");
    OAR_TRY(number_in(number, h.members, "member"));
    size_t first = sizeof h + ((size_t)h.stages + 1) * sizeof(struct stage_piece);
    if (!copy(&piece, sizeof piece, result, result_len, first + number * sizeof piece)) return malformed("plan");
    m.flags = piece.flags;
    m.id = piece.id;
    memcpy(m.store, piece.store, sizeof m.store);
    m.silent = piece.silent;
    m.behind = piece.behind;
    if ((m.address = text(result, result_len, piece.address)) == NULL) return malformed("plan");
    return oar_give(member, &m, sizeof m, "oar_plan_member", sizeof m);
}

oar_status oar_plan_stage(const void *result, size_t result_len, uint32_t number, const void **stage, size_t *stage_len) {
    OAR_ENTER();
    struct plan_head h;
    struct stage_piece piece;
    if (stage == NULL || stage_len == NULL) return oar_failed(OAR_ERR_ARGUMENT, "stage or stage_len is NULL");
    *stage = NULL;
    *stage_len = 0;
    if (!plan(&h, result, result_len)) return malformed("plan");
    OAR_TRY(number_in(number, h.stages + 1, "stage"));
    if (!copy(&piece, sizeof piece, result, result_len, sizeof h + number * sizeof piece)) return malformed("plan");
    if (piece.at > result_len || piece.len > result_len - piece.at) return malformed("plan");
    *stage = (const unsigned char *)result + piece.at;
    *stage_len = piece.len;
    return OAR_OK;
}
