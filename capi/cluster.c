/* Clusters in memory, for tests: the life of their servers. */
#include "internal.h"

#include "_cgo_export.h"

enum { SERVERS_FIRST_MAX = 9, SERVERS_MAX = 16 };

struct server_place {
    _Atomic(oar_server *) handle; /* of the newest run, NULL: there was none */
    bool runs;                    /* it was started and not stopped */
    char *address;                /* that oar_cluster_add gave; NULL: it was not asked */
};

struct oar_cluster_object {
    uintptr_t go;
    pthread_mutex_t mutex; /* held by who starts and who stops */
    bool freeing;          /* nothing starts any more */
    bool pull;
    uint32_t pull_flags;
    atomic_uint servers; /* how many there are by now: the first places */
    oar_state_machine vtable;
    oar_machine_factory machine_new;
    void *user_data;
    struct server_place places[SERVERS_MAX];
};

oar_status oar_machine_user(oar_machine_factory factory, void *user_data, uint64_t number, void **machine_user_data) {
    *machine_user_data = NULL;
    oar_callback_enter();
    oar_status status = factory(user_data, number, machine_user_data);
    char *said = oar_callback_leave();
    if (status != OAR_OK) {
        if (said != NULL) {
            (void)oar_failed_by(OAR_ERR_STATE_MACHINE, OAR_ERR_STATE_MACHINE, said);
        } else {
            (void)oar_failed(OAR_ERR_STATE_MACHINE, "machine_new returned %d (%s)", (int)status, oar_status_name(status));
        }
        status = OAR_ERR_STATE_MACHINE;
    }
    free(said);
    return status;
}

/* ---- Making one ---- */

static oar_status check_options(oar_cluster_options *o) {
    if (o->flags & ~OAR_CLUSTER_PULL || o->pull_flags & ~OAR_PULL_ALL)
        return oar_failed(OAR_ERR_FLAGS, "flags %#x or pull_flags %#x of oar_cluster_options: unknown", o->flags, o->pull_flags);
    if (o->servers == 0) o->servers = 3;
    if (o->servers > SERVERS_FIRST_MAX)
        return oar_failed(OAR_ERR_ARGUMENT, "a cluster of %u servers: it begins with from 1 to %d", o->servers, SERVERS_FIRST_MAX);
    bool pull = (o->flags & OAR_CLUSTER_PULL) != 0;
    if (pull && (o->machine != NULL || o->machine_new != NULL))
        return oar_failed(OAR_ERR_ARGUMENT, "a machine or machine_new, and OAR_CLUSTER_PULL: it is one or the other");
    if (!pull && o->pull_flags != 0) return oar_failed(OAR_ERR_FLAGS, "pull_flags without OAR_CLUSTER_PULL");
    if (!pull && (o->machine == NULL || o->machine_new == NULL))
        return oar_failed(OAR_ERR_ARGUMENT, "%s of oar_cluster_options is NULL, without OAR_CLUSTER_PULL", o->machine == NULL ? "machine" : "machine_new");
    return OAR_OK;
}

static void object_free(struct oar_cluster_object *c) {
    for (size_t i = 0; i < SERVERS_MAX; i++) free(c->places[i].address);
    (void)pthread_mutex_destroy(&c->mutex);
    oar_release(c, sizeof *c);
}

/* Copies the vtable, once it is known to be one that can be. */
static oar_status take_vtable(struct oar_cluster_object *c, const oar_state_machine *vtable) {
    struct oar_machine *m;
    OAR_TRY(oar_machine_make(vtable, NULL, &m));
    c->vtable = m->vtable;
    c->vtable.struct_size = sizeof c->vtable;
    oar_machine_free(m);
    return OAR_OK;
}

static oar_status make(struct oar_cluster_object *c, const oar_cluster_options *o) {
    (void)pthread_mutex_init(&c->mutex, NULL);
    c->pull = (o->flags & OAR_CLUSTER_PULL) != 0;
    c->pull_flags = o->pull_flags;
    c->servers = o->servers;
    c->machine_new = o->machine_new;
    c->user_data = o->machine_new_user_data;
    if (!c->pull) OAR_TRY(take_vtable(c, o->machine));
    if (o->config == NULL) return oargo_cluster_new(0, o->servers, &c->go);
    uintptr_t conf = (uintptr_t)oar_handle_enter(o->config, OAR_CONFIG);
    if (conf == 0) return OAR_ERR_HANDLE;
    oar_status status = oargo_cluster_new(conf, o->servers, &c->go);
    oar_handle_leave(o->config);
    return status;
}

oar_status oar_cluster_new(const oar_cluster_options *options, oar_cluster **cluster) {
    OAR_ENTER();
    if (cluster == NULL) return oar_failed(OAR_ERR_ARGUMENT, "cluster is NULL");
    *cluster = NULL;
    oar_cluster_options o;
    OAR_TRY(oar_take(&o, sizeof o, options, "oar_cluster_options", sizeof o));
    OAR_TRY(check_options(&o));
    OAR_TRY(oar_may_wait());
    struct oar_cluster_object *c = oar_alloc(sizeof *c);
    if (c == NULL) return OAR_ERR_NO_MEMORY;
    oar_status status = make(c, &o);
    if (status == OAR_OK && (*cluster = oar_handle_new(OAR_CLUSTER, c)) == NULL) {
        oargo_cluster_free(c->go);
        status = OAR_ERR_NO_MEMORY;
    }
    if (status != OAR_OK) object_free(c);
    return status;
}

/* ---- Starting and stopping. The caller holds the mutex. ---- */

static void destroy(struct oar_machine *m) {
    oar_callback_enter(); /* it must not come back here: the mutex is held */
    oar_machine_destroy(m);
    free(oar_callback_leave());
}

static void forget(struct server_place *p) {
    oar_server *handle = atomic_exchange(&p->handle, NULL);
    struct oar_server_object *s = handle == NULL ? NULL : oar_handle_end(handle, OAR_SERVER);
    if (s == NULL) return;
    oargo_server_free(s->go);
    oar_server_object_free(s);
}

/* The machine, or the queue of work, of a server that starts. */
static oar_status fill(struct oar_cluster_object *c, uint64_t id, struct oar_server_object *s) {
    void *user_data;
    s->in_cluster = true;
    if (c->pull) return (s->work = oar_work_queue_new()) == NULL ? OAR_ERR_NO_MEMORY : OAR_OK;
    OAR_TRY(oar_machine_make(&c->vtable, NULL, &s->machine));
    oar_status status = oar_machine_user(c->machine_new, c->user_data, id, &user_data);
    if (status != OAR_OK) s->machine->vtable.destroy = NULL; /* there is nothing to destroy */
    s->machine->user_data = user_data;
    return status;
}

static oar_status start(struct oar_cluster_object *c, uint64_t id) {
    struct server_place *p = &c->places[id - 1];
    if (c->freeing) return oar_failed(OAR_ERR_CLOSED, "the cluster is being freed");
    if (p->runs) return oar_failed(OAR_ERR_ORDER, "server %llu was started already (oar_cluster_stop)", (unsigned long long)id);
    forget(p);
    struct oar_server_object *s = oar_alloc(sizeof *s);
    if (s == NULL) return OAR_ERR_NO_MEMORY;
    oar_status status = fill(c, id, s);
    if (status == OAR_OK) status = oargo_cluster_open(c->go, id, s, c->pull_flags, &s->go);
    oar_server *handle = NULL;
    if (status == OAR_OK && (handle = oar_handle_new(OAR_SERVER, s)) == NULL) status = OAR_ERR_NO_MEMORY;
    if (status == OAR_OK && (status = oargo_server_start(s->go)) == OAR_OK) {
        p->runs = true;
        atomic_store(&p->handle, handle);
        return OAR_OK;
    }
    if (handle != NULL) (void)oar_handle_end(handle, OAR_SERVER);
    destroy(s->machine);
    if (s->go != 0) oargo_server_free(s->go);
    oar_server_object_free(s);
    return status;
}

static oar_status stop(struct oar_cluster_object *c, uint64_t id, bool power_cut) {
    struct server_place *p = &c->places[id - 1];
    if (!p->runs) return OAR_OK;
    struct oar_server_object *s = oar_handle_enter(atomic_load(&p->handle), OAR_SERVER);
    if (s == NULL) return OAR_ERR_HANDLE;
    bool ended = false;
    oar_status status = oargo_cluster_close(c->go, id, s, power_cut, &ended);
    if (ended) {
        p->runs = false;
        destroy(s->machine);
    }
    oar_handle_leave(atomic_load(&p->handle));
    return status;
}

/* ---- The functions of servers ---- */

static oar_status known(const struct oar_cluster_object *c, uint64_t server_id, uint64_t least) {
    if (server_id >= least && server_id <= c->servers) return OAR_OK;
    return oar_failed(OAR_ERR_NOT_FOUND, "the cluster has no server %llu, its servers are 1 to %u", (unsigned long long)server_id,
                      c->servers);
}

/* The cluster, with its mutex held. 0 stands for all servers. */
static oar_status enter(oar_cluster *cluster, uint64_t server_id, struct oar_cluster_object **out) {
    OAR_TRY(oar_may_wait());
    struct oar_cluster_object *c = oar_handle_enter(cluster, OAR_CLUSTER);
    if (c == NULL) return OAR_ERR_HANDLE;
    oar_status status = known(c, server_id, 0);
    if (status != OAR_OK) {
        oar_handle_leave(cluster);
        return status;
    }
    pthread_mutex_lock(&c->mutex);
    *out = c;
    return OAR_OK;
}

static void leave(oar_cluster *cluster, struct oar_cluster_object *c) {
    pthread_mutex_unlock(&c->mutex);
    oar_handle_leave(cluster);
}

oar_status oar_cluster_start(oar_cluster *cluster, uint64_t server_id) {
    OAR_ENTER();
    struct oar_cluster_object *c;
    OAR_TRY(enter(cluster, server_id, &c));
    oar_status status = OAR_OK;
    if (server_id != 0) {
        status = start(c, server_id);
    } else {
        for (uint64_t id = 1; id <= c->servers && status == OAR_OK; id++)
            if (!c->places[id - 1].runs) status = start(c, id);
    }
    leave(cluster, c);
    return status;
}

/* Fills in *change for a server that was added, or replaced. The caller holds the mutex. */
static oar_status added(struct oar_cluster_object *c, uint64_t replace, oar_change *change) {
    char *address = NULL;
    if (c->freeing) return oar_failed(OAR_ERR_CLOSED, "the cluster is being freed");
    if (replace != 0 && c->places[replace - 1].runs)
        return oar_failed(OAR_ERR_ORDER, "server %llu runs (oar_cluster_stop)", (unsigned long long)replace);
    OAR_TRY(oargo_cluster_add(c->go, replace, change, &address));
    struct server_place *p = &c->places[change->id - 1];
    if (p->address == NULL) {
        p->address = address;
    } else {
        free(address); /* it is the same, and may be in the host's hands */
    }
    change->address = p->address;
    if (replace == 0) atomic_store(&c->servers, (unsigned)change->id);
    return OAR_OK;
}

static oar_status enter_and_add(oar_cluster *cluster, uint64_t replace, oar_change *change) {
    struct oar_cluster_object *c;
    oar_change now;
    OAR_INIT(&now);
    OAR_TRY(oar_give(change, &now, sizeof now, "oar_change", sizeof now));
    OAR_TRY(enter(cluster, replace, &c));
    oar_status status = added(c, replace, &now);
    if (status == OAR_OK) (void)oar_give(change, &now, sizeof now, "oar_change", sizeof now);
    leave(cluster, c);
    return status;
}

oar_status oar_cluster_add(oar_cluster *cluster, oar_change *change) {
    OAR_ENTER();
    return enter_and_add(cluster, 0, change);
}

oar_status oar_cluster_replace(oar_cluster *cluster, uint64_t server_id, oar_change *change) {
    OAR_ENTER();
    if (server_id == 0) return oar_failed(OAR_ERR_NOT_FOUND, "there is no server 0");
    return enter_and_add(cluster, server_id, change);
}

/* Stops one, or with 0 all, the others too where one is stuck: the last failure is told. */
static oar_status stop_some(struct oar_cluster_object *c, uint64_t server_id, bool power_cut) {
    uint64_t first = server_id == 0 ? 1 : server_id, last = server_id == 0 ? c->servers : server_id;
    oar_status failed = OAR_OK;
    for (uint64_t id = first; id <= last; id++) {
        oar_status status = stop(c, id, power_cut);
        if (status != OAR_OK) failed = status;
    }
    return failed;
}

static oar_status enter_and_stop(oar_cluster *cluster, uint64_t server_id, bool power_cut) {
    struct oar_cluster_object *c;
    OAR_TRY(enter(cluster, server_id, &c));
    oar_status status = stop_some(c, server_id, power_cut);
    leave(cluster, c);
    return status;
}

oar_status oar_cluster_stop(oar_cluster *cluster, uint64_t server_id) {
    OAR_ENTER();
    return enter_and_stop(cluster, server_id, false);
}

oar_status oar_cluster_crash(oar_cluster *cluster, uint64_t server_id) {
    OAR_ENTER();
    return enter_and_stop(cluster, server_id, true);
}

/* Without the mutex, which may be held for as long as something is stuck. */
oar_status oar_cluster_server(oar_cluster *cluster, uint64_t server_id, oar_server **server) {
    OAR_ENTER();
    if (server == NULL) return oar_failed(OAR_ERR_ARGUMENT, "server is NULL");
    *server = NULL;
    OAR_TRY(oar_may_wait());
    struct oar_cluster_object *c = oar_handle_enter(cluster, OAR_CLUSTER);
    if (c == NULL) return OAR_ERR_HANDLE;
    oar_status status = known(c, server_id, 1);
    if (status == OAR_OK && (*server = atomic_load(&c->places[server_id - 1].handle)) == NULL)
        status = oar_failed(OAR_ERR_ORDER, "server %llu was not started (oar_cluster_start)", (unsigned long long)server_id);
    oar_handle_leave(cluster);
    return status;
}

/* ---- Waiting ---- */

oar_status oar_cluster_leader(oar_cluster *cluster, int64_t timeout, uint64_t *server_id) {
    OAR_ENTER();
    if (server_id == NULL) return oar_failed(OAR_ERR_ARGUMENT, "server_id is NULL");
    *server_id = 0;
    OAR_TRY(oar_check_timeout(timeout));
    OAR_TRY(oar_may_wait());
    struct oar_cluster_object *c = oar_handle_enter(cluster, OAR_CLUSTER);
    if (c == NULL) return OAR_ERR_HANDLE;
    oar_status status = oargo_cluster_leader(c->go, timeout, server_id);
    oar_handle_leave(cluster);
    return status;
}

oar_status oar_cluster_settle(oar_cluster *cluster, int64_t timeout) {
    OAR_ENTER();
    OAR_TRY(oar_check_timeout(timeout));
    OAR_TRY(oar_may_wait());
    struct oar_cluster_object *c = oar_handle_enter(cluster, OAR_CLUSTER);
    if (c == NULL) return OAR_ERR_HANDLE;
    oar_status status = oargo_cluster_settle(c->go, timeout);
    oar_handle_leave(cluster);
    return status;
}

/* ---- Clients and the network ---- */

oar_status oar_cluster_client(oar_cluster *cluster, const oar_client_options *options, oar_client **client) {
    OAR_ENTER();
    if (client == NULL) return oar_failed(OAR_ERR_ARGUMENT, "client is NULL");
    *client = NULL;
    oar_client_options o;
    OAR_TRY(oar_client_take(&o, options));
    if (o.servers != NULL) return oar_failed(OAR_ERR_ARGUMENT, "servers of oar_client_options, for a client of a cluster: it knows them");
    OAR_TRY(oar_may_wait());
    struct oar_cluster_object *c = oar_handle_enter(cluster, OAR_CLUSTER);
    if (c == NULL) return OAR_ERR_HANDLE;
    struct oar_client_object *made = oar_alloc(sizeof *made);
    oar_status status = made == NULL ? OAR_ERR_NO_MEMORY : oargo_cluster_client(c->go, &o, made, &made->go);
    oar_handle_leave(cluster);
    return oar_client_made(status, made, client);
}

oar_status oar_cluster_split(oar_cluster *cluster, const uint64_t *server_ids, size_t count) {
    OAR_ENTER();
    if (server_ids == NULL && count > 0) return oar_failed(OAR_ERR_ARGUMENT, "server_ids is NULL with a count of %zu", count);
    struct oar_cluster_object *c = oar_handle_enter(cluster, OAR_CLUSTER);
    if (c == NULL) return OAR_ERR_HANDLE;
    oar_status status = oargo_cluster_split(c->go, (uint64_t *)(uintptr_t)server_ids, count);
    oar_handle_leave(cluster);
    return status;
}

oar_status oar_cluster_cut(oar_cluster *cluster, uint64_t from, uint64_t to) {
    OAR_ENTER();
    if (from == to) return oar_failed(OAR_ERR_ARGUMENT, "from server %llu to itself there is no network", (unsigned long long)from);
    struct oar_cluster_object *c = oar_handle_enter(cluster, OAR_CLUSTER);
    if (c == NULL) return OAR_ERR_HANDLE;
    oar_status status = oargo_cluster_cut(c->go, from, to);
    oar_handle_leave(cluster);
    return status;
}

oar_status oar_cluster_heal(oar_cluster *cluster) {
    OAR_ENTER();
    struct oar_cluster_object *c = oar_handle_enter(cluster, OAR_CLUSTER);
    if (c == NULL) return OAR_ERR_HANDLE;
    oar_status status = oargo_cluster_heal(c->go);
    oar_handle_leave(cluster);
    return status;
}

/* ---- The end ---- */

oar_status oar_cluster_free(oar_cluster *cluster) {
    OAR_ENTER();
    if (cluster == NULL) return OAR_OK;
    struct oar_cluster_object *c;
    OAR_TRY(enter(cluster, 0, &c));
    oar_status status = stop_some(c, 0, false);
    if (status == OAR_OK) {
        c->freeing = true;
        status = oargo_cluster_close_all(c->go);
    }
    leave(cluster, c);
    if (status != OAR_OK) return status;
    if (oar_handle_end_begin(cluster, OAR_CLUSTER) == NULL) return OAR_ERR_HANDLE; /* another thread was faster */
    oargo_cluster_end(c->go); /* whoever waits comes out */
    oar_handle_end_finish(cluster);
    for (uint32_t i = 0; i < c->servers; i++) forget(&c->places[i]);
    oargo_cluster_free(c->go);
    object_free(c);
    return OAR_OK;
}
