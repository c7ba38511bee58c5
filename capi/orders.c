/* What is asked of a group's members and of its leadership, of servers and of clients. */
#include "internal.h"

static const enum oar_op ops[] = {0, OAR_OP_CHANGE, OAR_OP_PLAN, OAR_OP_MEMBERS, OAR_OP_TRANSFER, OAR_OP_STEP_DOWN};
static const char *const names[] = {"", "OAR_ORDER_CHANGE", "OAR_ORDER_PLAN", "OAR_ORDER_MEMBERS", "OAR_ORDER_TRANSFER", "OAR_ORDER_STEP_DOWN"};

enum { CHANGES_MAX = 256, ADDRESS_MAX = 255 };

/* ---- Changes, as the body of a request: Go reads it ---- */

/* The change at a place of the caller's array, whose structs are as long as the first says. */
static oar_status take_change(oar_change *to, const oar_order *o, size_t i) {
    uint32_t stride, size;
    memcpy(&stride, o->changes, sizeof stride);
    const unsigned char *at = (const unsigned char *)o->changes + i * (size_t)stride;
    memcpy(&size, at, sizeof size);
    if (i > 0 && size != stride)
        return oar_failed(OAR_ERR_STRUCT_SIZE, "struct_size of change %zu is %u, and that of the first one %u", i, size, stride);
    OAR_TRY(oar_take(to, sizeof *to, at, "oar_change", sizeof *to));
    if (to->kind < OAR_CHANGE_ADD_VOTER || to->kind > OAR_CHANGE_ADDRESS)
        return oar_failed(OAR_ERR_UNSUPPORTED, "kind %u of oar_change is not in this version", to->kind);
    if (to->address != NULL && strnlen(to->address, ADDRESS_MAX + 1) > ADDRESS_MAX)
        return oar_failed(OAR_ERR_ARGUMENT, "the address of server %llu is longer than %d bytes", (unsigned long long)to->id, ADDRESS_MAX);
    return OAR_OK;
}

static oar_status append_change(struct oar_bytes *b, const oar_change *c) {
    uint32_t len = c->address == NULL ? 0 : (uint32_t)strlen(c->address);
    OAR_TRY(oar_bytes_append(b, &c->kind, sizeof c->kind));
    OAR_TRY(oar_bytes_append(b, &c->id, sizeof c->id));
    OAR_TRY(oar_bytes_append(b, c->store, sizeof c->store));
    OAR_TRY(oar_bytes_append(b, &len, sizeof len));
    return oar_bytes_append(b, c->address, len);
}

static oar_status append_changes(struct oar_bytes *b, const oar_order *o) {
    uint32_t count = (uint32_t)o->change_count;
    OAR_TRY(oar_bytes_append(b, &o->flags, sizeof o->flags));
    OAR_TRY(oar_bytes_append(b, &o->from, sizeof o->from));
    OAR_TRY(oar_bytes_append(b, &count, sizeof count));
    for (size_t i = 0; i < o->change_count; i++) {
        oar_change c;
        OAR_TRY(take_change(&c, o, i));
        OAR_TRY(append_change(b, &c));
    }
    return OAR_OK;
}

/* ---- Orders ---- */

static oar_status check_kind(oar_order *o, uint32_t kind) {
    if (o->kind == 0) o->kind = kind;
    if (o->kind == 0 || o->kind > OAR_ORDER_STEP_DOWN) return oar_failed(OAR_ERR_ARGUMENT, "kind of oar_order is %u: unknown", o->kind);
    if (kind != 0 && o->kind != kind) return oar_failed(OAR_ERR_ARGUMENT, "kind of oar_order is %s here", names[o->kind]);
    return OAR_OK;
}

static oar_status check_order(const oar_order *o) {
    bool changes = o->kind == OAR_ORDER_CHANGE || o->kind == OAR_ORDER_PLAN, cancel = (o->flags & OAR_ORDER_CANCEL) != 0;
    if (o->flags & ~(OAR_ORDER_FORCED | OAR_ORDER_CANCEL) || o->reserved != 0)
        return oar_failed(OAR_ERR_FLAGS, "flags %#x or reserved of oar_order: unknown", o->flags);
    if (!changes && (o->flags != 0 || o->change_count != 0 || o->from != 0))
        return oar_failed(OAR_ERR_ARGUMENT, "changes, from or flags with %s", names[o->kind]);
    if (o->kind != OAR_ORDER_TRANSFER && o->to != 0) return oar_failed(OAR_ERR_ARGUMENT, "to with %s", names[o->kind]);
    if (changes && o->change_count > 0 && o->changes == NULL)
        return oar_failed(OAR_ERR_ARGUMENT, "changes of oar_order is NULL with a count of %zu", o->change_count);
    if (changes && cancel != (o->change_count == 0))
        return oar_failed(OAR_ERR_ARGUMENT, cancel ? "changes with OAR_ORDER_CANCEL" : "an order without changes");
    if (o->change_count > CHANGES_MAX) return oar_failed(OAR_ERR_ARGUMENT, "%zu changes: %d at most", o->change_count, CHANGES_MAX);
    return oar_check_timeout(o->timeout);
}

/* The request of an order, whose body is in b. kind is the function's, 0 for one that takes all kinds. */
static oar_status order_request(struct oar_request *r, struct oar_bytes *b, const oar_order *order, uint32_t kind, enum oar_type type) {
    oar_order o;
    OAR_TRY(oar_take(&o, sizeof o, order, "oar_order", sizeof o));
    OAR_TRY(check_kind(&o, kind));
    OAR_TRY(check_order(&o));
    if (type == OAR_CLIENT && o.group != 0) return oar_failed(OAR_ERR_ARGUMENT, "a client has one group, which oar_client_open is told");
    *r = oar_request_plain(ops[o.kind], o.group);
    r->to = o.to;
    r->timeout = o.timeout > 0 ? o.timeout : 0;
    if (o.kind == OAR_ORDER_CHANGE || o.kind == OAR_ORDER_PLAN) OAR_TRY(append_changes(b, &o));
    r->body = b->at;
    r->body_len = b->len;
    return OAR_OK;
}

static oar_status wait(const void *handle, enum oar_type type, const oar_order *order, uint32_t kind, int64_t timeout, void **result,
                       size_t *result_len) {
    struct oar_request r;
    struct oar_bytes b = {0};
    OAR_TRY(oar_answer_place(result, result_len));
    oar_status status = order_request(&r, &b, order, kind, type);
    if (status == OAR_OK) status = oar_request_wait(handle, type, &r, timeout, result, result_len);
    oar_bytes_free(&b);
    return status;
}

static oar_status called_back(const void *handle, enum oar_type type, const oar_order *order, oar_completion_callback callback,
                              void *user_data) {
    struct oar_request r;
    struct oar_bytes b = {0};
    oar_status status = order_request(&r, &b, order, 0, type);
    if (status == OAR_OK) status = oar_request_called_back(handle, type, &r, callback, user_data);
    oar_bytes_free(&b);
    return status;
}

static oar_status queued(const void *handle, enum oar_type type, const oar_order *order, oar_queue *queue, uint64_t tag) {
    struct oar_request r;
    struct oar_bytes b = {0};
    oar_status status = order_request(&r, &b, order, 0, type);
    if (status == OAR_OK) status = oar_request_queued(handle, type, &r, queue, tag);
    oar_bytes_free(&b);
    return status;
}

static oar_status started(const void *handle, enum oar_type type, const oar_order *order, oar_call **call) {
    struct oar_request r;
    struct oar_bytes b = {0};
    if (call != NULL) *call = NULL;
    oar_status status = order_request(&r, &b, order, 0, type);
    if (status == OAR_OK) status = oar_request_start(handle, type, &r, call);
    oar_bytes_free(&b);
    return status;
}

static oar_status transfer(const void *handle, enum oar_type type, uint64_t group, uint64_t to, int64_t timeout) {
    struct oar_request r = oar_request_plain(OAR_OP_TRANSFER, group);
    r.to = to;
    return oar_request_wait(handle, type, &r, timeout, NULL, NULL);
}

static oar_status plainly(const void *handle, enum oar_type type, enum oar_op op, uint64_t group, int64_t timeout, void **result,
                          size_t *result_len) {
    struct oar_request r = oar_request_plain(op, group);
    return oar_request_wait(handle, type, &r, timeout, result, result_len);
}

/* ---- Servers ---- */

oar_status oar_change_membership(oar_server *server, const oar_order *order, int64_t timeout, void **result, size_t *result_len) {
    OAR_ENTER();
    return wait(server, OAR_SERVER, order, OAR_ORDER_CHANGE, timeout, result, result_len);
}

oar_status oar_plan_membership(oar_server *server, const oar_order *order, int64_t timeout, void **result, size_t *result_len) {
    OAR_ENTER();
    return wait(server, OAR_SERVER, order, OAR_ORDER_PLAN, timeout, result, result_len);
}

oar_status oar_members(oar_server *server, uint64_t group, int64_t timeout, void **result, size_t *result_len) {
    OAR_ENTER();
    return plainly(server, OAR_SERVER, OAR_OP_MEMBERS, group, timeout, result, result_len);
}

oar_status oar_transfer_leadership(oar_server *server, uint64_t group, uint64_t to, int64_t timeout) {
    OAR_ENTER();
    return transfer(server, OAR_SERVER, group, to, timeout);
}

oar_status oar_step_down(oar_server *server, uint64_t group, int64_t timeout) {
    OAR_ENTER();
    return plainly(server, OAR_SERVER, OAR_OP_STEP_DOWN, group, timeout, NULL, NULL);
}

oar_status oar_order_async(oar_server *server, const oar_order *order, oar_completion_callback callback, void *user_data) {
    OAR_ENTER();
    return called_back(server, OAR_SERVER, order, callback, user_data);
}

oar_status oar_order_queued(oar_server *server, const oar_order *order, oar_queue *queue, uint64_t tag) {
    OAR_ENTER();
    return queued(server, OAR_SERVER, order, queue, tag);
}

oar_status oar_order_start(oar_server *server, const oar_order *order, oar_call **call) {
    OAR_ENTER();
    return started(server, OAR_SERVER, order, call);
}

/* ---- Clients ---- */

oar_status oar_client_change_membership(oar_client *client, const oar_order *order, int64_t timeout, void **result,
                                        size_t *result_len) {
    OAR_ENTER();
    return wait(client, OAR_CLIENT, order, OAR_ORDER_CHANGE, timeout, result, result_len);
}

oar_status oar_client_plan_membership(oar_client *client, const oar_order *order, int64_t timeout, void **result, size_t *result_len) {
    OAR_ENTER();
    return wait(client, OAR_CLIENT, order, OAR_ORDER_PLAN, timeout, result, result_len);
}

oar_status oar_client_members(oar_client *client, int64_t timeout, void **result, size_t *result_len) {
    OAR_ENTER();
    return plainly(client, OAR_CLIENT, OAR_OP_MEMBERS, 0, timeout, result, result_len);
}

oar_status oar_client_transfer_leadership(oar_client *client, uint64_t to, int64_t timeout) {
    OAR_ENTER();
    return transfer(client, OAR_CLIENT, 0, to, timeout);
}

oar_status oar_client_step_down(oar_client *client, int64_t timeout) {
    OAR_ENTER();
    return plainly(client, OAR_CLIENT, OAR_OP_STEP_DOWN, 0, timeout, NULL, NULL);
}

oar_status oar_client_order_async(oar_client *client, const oar_order *order, oar_completion_callback callback, void *user_data) {
    OAR_ENTER();
    return called_back(client, OAR_CLIENT, order, callback, user_data);
}

oar_status oar_client_order_queued(oar_client *client, const oar_order *order, oar_queue *queue, uint64_t tag) {
    OAR_ENTER();
    return queued(client, OAR_CLIENT, order, queue, tag);
}

oar_status oar_client_order_start(oar_client *client, const oar_order *order, oar_call **call) {
    OAR_ENTER();
    return started(client, OAR_CLIENT, order, call);
}
