/* Clients: their life, and what they ask that is neither a proposal nor a query. */
#include "internal.h"

#include "_cgo_export.h"

oar_status oar_client_take(oar_client_options *o, const oar_client_options *options) {
    memset(o, 0, sizeof *o);
    if (options != NULL) OAR_TRY(oar_take(o, sizeof *o, options, "oar_client_options", sizeof *o));
    if (o->flags & ~(OAR_CLIENT_SESSIONLESS | OAR_CLIENT_READ_ANY) || o->reserved != 0)
        return oar_failed(OAR_ERR_FLAGS, "flags %#x or reserved of oar_client_options: unknown", o->flags);
    if (o->dial_timeout < 0 || o->silence_max < 0 || o->backoff_min < 0 || o->backoff_max < 0 || o->close_timeout < 0)
        return oar_failed(OAR_ERR_ARGUMENT, "a duration of oar_client_options is negative");
    return OAR_OK;
}

oar_status oar_client_made(oar_status status, struct oar_client_object *c, oar_client **client) {
    if (status == OAR_OK && (*client = oar_handle_new(OAR_CLIENT, c)) == NULL) {
        oargo_client_free(c->go);
        status = OAR_ERR_NO_MEMORY;
    }
    if (status != OAR_OK && c != NULL) oar_release(c, sizeof *c);
    return status;
}

oar_status oar_client_open(oar_config *config, const oar_client_options *options, oar_client **client) {
    OAR_ENTER();
    if (client == NULL) return oar_failed(OAR_ERR_ARGUMENT, "client is NULL");
    *client = NULL;
    oar_client_options o;
    OAR_TRY(oar_client_take(&o, options));
    if (config == NULL && o.servers == NULL)
        return oar_failed(OAR_ERR_ARGUMENT, "neither a configuration nor servers: nobody to ask");
    uintptr_t conf = 0;
    if (config != NULL && (conf = (uintptr_t)oar_handle_enter(config, OAR_CONFIG)) == 0) return OAR_ERR_HANDLE;
    struct oar_client_object *c = oar_alloc(sizeof *c);
    oar_status status = c == NULL ? OAR_ERR_NO_MEMORY : oargo_client_open(conf, &o, c, &c->go);
    if (config != NULL) oar_handle_leave(config);
    return oar_client_made(status, c, client);
}

static oar_status json(oar_client *client, enum oar_op op, int64_t timeout, char **out) {
    if (out == NULL) return oar_failed(OAR_ERR_ARGUMENT, "json is NULL");
    *out = NULL;
    OAR_TRY(oar_check_timeout(timeout));
    OAR_TRY(oar_may_wait());
    struct oar_client_object *c = oar_handle_enter(client, OAR_CLIENT);
    if (c == NULL) return OAR_ERR_HANDLE;
    oar_status status = oargo_client_json(c->go, op, timeout, out);
    oar_handle_leave(client);
    return status;
}

oar_status oar_client_status_json(oar_client *client, int64_t timeout, char **out) {
    OAR_ENTER();
    return json(client, OAR_OP_STATUS_JSON, timeout, out);
}

oar_status oar_client_members_json(oar_client *client, int64_t timeout, char **out) {
    OAR_ENTER();
    return json(client, OAR_OP_MEMBERS_JSON, timeout, out);
}

oar_status oar_client_seen(oar_client *client, uint64_t *index) {
    OAR_ENTER();
    if (index == NULL) return oar_failed(OAR_ERR_ARGUMENT, "index is NULL");
    *index = 0;
    struct oar_client_object *c = oar_handle_enter(client, OAR_CLIENT);
    if (c == NULL) return OAR_ERR_HANDLE;
    *index = oargo_client_seen(c->go);
    oar_handle_leave(client);
    return OAR_OK;
}

oar_status oar_client_close(oar_client *client) {
    OAR_ENTER();
    OAR_TRY(oar_may_wait());
    struct oar_client_object *c = oar_handle_enter(client, OAR_CLIENT);
    if (c == NULL) return OAR_ERR_HANDLE;
    oar_status status = oargo_client_close(c->go);
    oar_handle_leave(client);
    return status;
}

oar_status oar_client_free(oar_client *client) {
    OAR_ENTER();
    if (client == NULL) return OAR_OK;
    OAR_TRY(oar_client_close(client));
    struct oar_client_object *c = oar_handle_end(client, OAR_CLIENT);
    if (c == NULL) return OAR_ERR_HANDLE;
    oargo_client_free(c->go);
    oar_release(c, sizeof *c);
    return OAR_OK;
}
