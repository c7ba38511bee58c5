/* Servers: their life, and looks at them. */
#include "internal.h"

#include "_cgo_export.h"

/* ---- Opening ---- */

static oar_status check_machine(const oar_state_machine *m) {
    if (m->flags & ~OAR_MACHINE_CONCURRENT_QUERIES)
        return oar_failed(OAR_ERR_FLAGS, "flags of oar_state_machine is %#x: unknown", m->flags);
    if (m->apply == NULL || m->query == NULL)
        return oar_failed(OAR_ERR_ARGUMENT, "%s of oar_state_machine is NULL", m->apply == NULL ? "apply" : "query");
    if ((m->snapshot_write == NULL) != (m->restore == NULL))
        return oar_failed(OAR_ERR_ARGUMENT, "snapshot_write and restore of oar_state_machine: one is NULL");
    if (m->snapshot_write == NULL && m->snapshot_prepare != NULL)
        return oar_failed(OAR_ERR_ARGUMENT, "snapshot_prepare of oar_state_machine without snapshot_write");
    if ((m->next_due == NULL) != (m->expire == NULL))
        return oar_failed(OAR_ERR_ARGUMENT, "next_due and expire of oar_state_machine: one is NULL");
    return OAR_OK;
}

oar_status oar_machine_make(const oar_state_machine *vtable, void *user_data, struct oar_machine **machine) {
    struct oar_machine *m = *machine = oar_alloc(sizeof *m);
    if (m == NULL) return OAR_ERR_NO_MEMORY;
    m->user_data = user_data;
    oar_status status = oar_take(&m->vtable, sizeof m->vtable, vtable, "oar_state_machine", sizeof *vtable);
    if (status == OAR_OK) status = check_machine(&m->vtable);
    if (status == OAR_OK) return OAR_OK;
    oar_machine_free(m);
    *machine = NULL;
    return status;
}

void oar_machine_free(struct oar_machine *m) {
    if (m == NULL) return;
    oar_bytes_free(&m->results.bytes);
    free(m->results.lengths);
    oar_release(m, sizeof *m);
}

void oar_machine_destroy(struct oar_machine *m) {
    if (m == NULL || m->vtable.destroy == NULL) return;
    m->vtable.destroy(m->user_data);
    m->vtable.destroy = NULL; /* once */
}

void oar_server_object_free(struct oar_server_object *s) {
    oar_machine_free(s->machine);
    oar_work_queue_free(s->work);
    oar_release(s, sizeof *s);
}

static oar_status check_options(const oar_server_options *o) {
    if (o->flags & ~OAR_SERVER_PULL || o->pull_flags & ~OAR_PULL_ALL || o->reserved != 0)
        return oar_failed(OAR_ERR_FLAGS, "flags %#x, pull_flags %#x or reserved of oar_server_options: unknown", o->flags, o->pull_flags);
    if (o->flags & OAR_SERVER_PULL)
        return o->machine == NULL ? OAR_OK : oar_failed(OAR_ERR_ARGUMENT, "a machine and OAR_SERVER_PULL: it is one or the other");
    if (o->machine == NULL) return oar_failed(OAR_ERR_ARGUMENT, "machine of oar_server_options is NULL, without OAR_SERVER_PULL");
    if (o->pull_flags != 0) return oar_failed(OAR_ERR_FLAGS, "pull_flags without OAR_SERVER_PULL");
    return OAR_OK;
}

/* Fills in the object from options that were checked, but for its Go side. */
static oar_status fill(struct oar_server_object *s, const oar_server_options *o) {
    s->log = o->log;
    s->log_user_data = o->log_user_data;
    s->log_destroy = o->log_destroy;
    if (o->flags & OAR_SERVER_PULL) {
        s->work = oar_work_queue_new();
        return s->work == NULL ? OAR_ERR_NO_MEMORY : OAR_OK;
    }
    return oar_machine_make(o->machine, o->machine_user_data, &s->machine);
}

oar_status oar_server_open(oar_config *config, uint64_t server_id, const oar_server_options *options, oar_server **server) {
    OAR_ENTER();
    if (server == NULL) return oar_failed(OAR_ERR_ARGUMENT, "server is NULL");
    *server = NULL;
    oar_server_options o;
    OAR_TRY(oar_take(&o, sizeof o, options, "oar_server_options", sizeof o));
    OAR_TRY(check_options(&o));
    uintptr_t conf = (uintptr_t)oar_handle_enter(config, OAR_CONFIG);
    if (conf == 0) return OAR_ERR_HANDLE;
    struct oar_server_object *s = oar_alloc(sizeof *s);
    oar_status status = s == NULL ? OAR_ERR_NO_MEMORY : fill(s, &o);
    if (status == OAR_OK) status = oargo_server_open(conf, server_id, s, o.pull_flags, (char *)(uintptr_t)o.log_levels, &s->go);
    oar_handle_leave(config);
    if (status == OAR_OK && (*server = oar_handle_new(OAR_SERVER, s)) == NULL) {
        oargo_server_free(s->go);
        status = OAR_ERR_NO_MEMORY;
    }
    if (status != OAR_OK && s != NULL) oar_server_object_free(s);
    return status;
}

static oar_status format(oar_config *config, uint64_t server_id, bool joining) {
    OAR_TRY(oar_may_wait());
    uintptr_t conf = (uintptr_t)oar_handle_enter(config, OAR_CONFIG);
    if (conf == 0) return OAR_ERR_HANDLE;
    oar_status status = oargo_server_format(conf, server_id, joining);
    oar_handle_leave(config);
    return status;
}

oar_status oar_server_format(oar_config *config, uint64_t server_id) {
    OAR_ENTER();
    return format(config, server_id, false);
}

oar_status oar_server_format_joining(oar_config *config, uint64_t server_id) {
    OAR_ENTER();
    return format(config, server_id, true);
}

/* ---- Life ---- */

/* What starts and ends a server is the cluster's that it is in. */
static oar_status own(const struct oar_server_object *s) {
    if (!s->in_cluster) return OAR_OK;
    return oar_failed(OAR_ERR_ORDER, "this server is a cluster's, which starts, stops and frees it (oar_cluster_start, oar_cluster_stop)");
}

/* The server's number on the Go side; 0 with the failure noted. */
static uintptr_t enter(oar_server *server) {
    struct oar_server_object *s = oar_handle_enter(server, OAR_SERVER);
    return s == NULL ? 0 : s->go;
}

oar_status oar_server_start(oar_server *server) {
    OAR_ENTER();
    OAR_TRY(oar_may_wait());
    struct oar_server_object *s = oar_handle_enter(server, OAR_SERVER);
    if (s == NULL) return OAR_ERR_HANDLE;
    oar_status status = own(s);
    if (status == OAR_OK) status = oargo_server_start(s->go);
    oar_handle_leave(server);
    return status;
}

void oar_server_is(struct oar_server_object *s, int state) { atomic_store(&s->state, state); }

oar_status oar_server_wait_ready(oar_server *server, int64_t timeout) {
    OAR_ENTER();
    OAR_TRY(oar_check_timeout(timeout));
    OAR_TRY(oar_may_wait());
    uintptr_t go = enter(server);
    if (go == 0) return OAR_ERR_HANDLE;
    oar_status status = oargo_server_wait_ready(go, timeout);
    oar_handle_leave(server);
    return status;
}

oar_status oar_server_wait_stopped(oar_server *server, int64_t timeout) {
    OAR_ENTER();
    OAR_TRY(oar_check_timeout(timeout));
    OAR_TRY(oar_may_wait());
    uintptr_t go = enter(server);
    if (go == 0) return OAR_ERR_HANDLE;
    oar_status status = oargo_server_wait_stopped(go, timeout);
    oar_handle_leave(server);
    return status;
}

oar_status oar_server_close(oar_server *server) {
    OAR_ENTER();
    OAR_TRY(oar_may_wait());
    struct oar_server_object *s = oar_handle_enter(server, OAR_SERVER);
    if (s == NULL) return OAR_ERR_HANDLE;
    oar_status status = own(s);
    if (status == OAR_OK) status = oargo_server_close(s->go);
    oar_handle_leave(server);
    return status;
}

oar_status oar_server_free(oar_server *server) {
    OAR_ENTER();
    if (server == NULL) return OAR_OK;
    OAR_TRY(oar_server_close(server));
    struct oar_server_object *s = oar_handle_end(server, OAR_SERVER);
    if (s == NULL) return OAR_ERR_HANDLE;
    oargo_server_free(s->go);
    oar_machine_destroy(s->machine);
    if (s->log_destroy != NULL) s->log_destroy(s->log_user_data);
    oar_server_object_free(s);
    return OAR_OK;
}

/* ---- Looks ---- */

oar_status oar_server_group_info(oar_server *server, uint64_t group, oar_group_info *info) {
    OAR_ENTER();
    oar_group_info now;
    OAR_INIT(&now);
    OAR_TRY(oar_give(info, &now, sizeof now, "oar_group_info", OAR_UP_TO(oar_group_info, membership_index)));
    OAR_TRY(oar_may_wait());
    uintptr_t go = enter(server);
    if (go == 0) return OAR_ERR_HANDLE;
    oar_status status = oargo_server_group_info(go, group == 0 ? OAR_GROUP_DEFAULT : group, &now);
    if (status == OAR_OK) (void)oar_give(info, &now, sizeof now, "oar_group_info", OAR_UP_TO(oar_group_info, membership_index));
    oar_handle_leave(server);
    return status;
}

oar_status oar_server_identity(oar_server *server, oar_identity *identity) {
    OAR_ENTER();
    oar_identity now;
    OAR_INIT(&now);
    OAR_TRY(oar_give(identity, &now, sizeof now, "oar_identity", sizeof now));
    OAR_TRY(oar_may_wait());
    uintptr_t go = enter(server);
    if (go == 0) return OAR_ERR_HANDLE;
    oar_status status = oargo_server_identity(go, &now);
    if (status == OAR_OK) (void)oar_give(identity, &now, sizeof now, "oar_identity", sizeof now);
    oar_handle_leave(server);
    return status;
}

oar_status oar_server_status_json(oar_server *server, char **json) {
    OAR_ENTER();
    if (json == NULL) return oar_failed(OAR_ERR_ARGUMENT, "json is NULL");
    *json = NULL;
    OAR_TRY(oar_may_wait());
    uintptr_t go = enter(server);
    if (go == 0) return OAR_ERR_HANDLE;
    oar_status status = oargo_server_status_json(go, json);
    oar_handle_leave(server);
    return status;
}

oar_status oar_server_snapshot(oar_server *server, uint64_t group, int64_t timeout) {
    OAR_ENTER();
    OAR_TRY(oar_check_timeout(timeout));
    OAR_TRY(oar_may_wait());
    uintptr_t go = enter(server);
    if (go == 0) return OAR_ERR_HANDLE;
    oar_status status = oargo_server_snapshot(go, group == 0 ? OAR_GROUP_DEFAULT : group, timeout);
    oar_handle_leave(server);
    return status;
}

void oar_server_log(struct oar_server_object *s, int level, const char *component, const char *text) {
    oar_log_record record = {.struct_size = sizeof record, .level = level, .component = component, .text = text};
    oar_callback_enter();
    s->log(s->log_user_data, &record);
    free(oar_callback_leave());
}

/* ---- Events ---- */

oar_status oar_events_open(oar_server *server, const oar_events_options *options, oar_events **events) {
    OAR_ENTER();
    if (events == NULL) return oar_failed(OAR_ERR_ARGUMENT, "events is NULL");
    *events = NULL;
    oar_events_options o = {.struct_size = sizeof o};
    if (options != NULL) OAR_TRY(oar_take(&o, sizeof o, options, "oar_events_options", sizeof o));
    if (o.flags != 0 || o.reserved != 0) return oar_failed(OAR_ERR_FLAGS, "flags and reserved of oar_events_options must be 0");
    if (o.room == 0) o.room = 1024;
    if (o.room < 2 || o.room > 1 << 24) return oar_failed(OAR_ERR_ARGUMENT, "room for %u events: it must be from 2 to 2^24", o.room);
    struct oar_events_object *e = oar_alloc(sizeof *e);
    if (e == NULL) return OAR_ERR_NO_MEMORY;
    uintptr_t go = enter(server);
    oar_status status = OAR_ERR_HANDLE;
    if (go != 0) {
        status = oargo_events_open(go, o.room, (char *)(uintptr_t)o.log_levels, &e->go);
        oar_handle_leave(server);
    }
    if (status == OAR_OK && (*events = oar_handle_new(OAR_EVENTS, e)) == NULL) {
        oargo_events_end(e->go);
        oargo_events_free(e->go);
        status = OAR_ERR_NO_MEMORY;
    }
    if (status != OAR_OK) oar_release(e, sizeof *e);
    return status;
}

static void texts_free(struct oar_events_object *e) {
    free(e->text);
    free(e->component);
    e->text = e->component = NULL;
}

oar_status oar_events_next(oar_events *events, int64_t timeout, oar_event *event) {
    OAR_ENTER();
    oar_event now;
    OAR_INIT(&now);
    OAR_TRY(oar_give(event, &now, sizeof now, "oar_event", sizeof now));
    OAR_TRY(oar_check_timeout(timeout));
    OAR_TRY(oar_may_wait());
    struct oar_events_object *e = oar_handle_enter(events, OAR_EVENTS);
    if (e == NULL) return OAR_ERR_HANDLE;
    texts_free(e);
    oar_status status = oargo_events_next(e->go, timeout, &now, &e->text, &e->component);
    if (status == OAR_OK) {
        now.text = e->text == NULL ? "" : e->text;
        now.component = e->component == NULL ? "" : e->component;
        (void)oar_give(event, &now, sizeof now, "oar_event", sizeof now);
    }
    oar_handle_leave(events);
    return status;
}

oar_status oar_events_free(oar_events *events) {
    OAR_ENTER();
    if (events == NULL) return OAR_OK;
    struct oar_events_object *e = oar_handle_end_begin(events, OAR_EVENTS);
    if (e == NULL) return OAR_ERR_HANDLE;
    oargo_events_end(e->go); /* whoever is inside oar_events_next comes out */
    oar_handle_end_finish(events);
    oargo_events_free(e->go);
    texts_free(e);
    oar_release(e, sizeof *e);
    return OAR_OK;
}
