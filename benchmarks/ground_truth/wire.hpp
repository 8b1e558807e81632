// Clocks, sockets and options shared by the ground-truth server and the reference client.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <string>
#include <vector>

using ns_t = int64_t;
constexpr ns_t MS = 1'000'000;

inline ns_t clock_ns(clockid_t id) {
    timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * ns_t(1'000'000'000) + t.tv_nsec;
}
inline ns_t now_ns() { return clock_ns(CLOCK_MONOTONIC); }

// CLOCK_REALTIME − CLOCK_MONOTONIC, from the tightest of many readings (some tens of ns).
inline ns_t realtime_offset_ns() {
    ns_t best = 0, width = INT64_MAX;
    for (int i = 0; i < 200; i++) {
        ns_t a = now_ns(), r = clock_ns(CLOCK_REALTIME), b = now_ns();
        if (b - a < width) width = b - a, best = r - a - (b - a) / 2;
    }
    return best;
}

struct Arrival {
    ssize_t bytes;
    ns_t kernel_ns;  // CLOCK_REALTIME of the newest byte; 0: the kernel gave none
};

inline Arrival receive(int fd, char* into, size_t room) {
    alignas(cmsghdr) char control[64];
    iovec part{into, room};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    Arrival arrival{recvmsg(fd, &m, 0), 0};
    if (arrival.bytes > 0)
        for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
            if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
                timespec t;
                memcpy(&t, CMSG_DATA(c), sizeof t);
                arrival.kernel_ns = t.tv_sec * ns_t(1'000'000'000) + t.tv_nsec;
            }
    return arrival;
}

inline void prepare(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

// Ends with the process that started it; wakes from sleep without the default 50 µs of slack.
inline void join_parent() {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1);
}

[[noreturn]] inline void die(const std::string& why) {
    fprintf(stderr, "%s%s%s\n", why.c_str(), errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

// `--name value` pairs; an unknown option is an error.
class Options {
    std::map<std::string, std::string> values, defaults;

  public:
    Options(int argc, char** argv, std::map<std::string, std::string> preset) : defaults(preset) {
        for (int i = 1; i < argc; i += 2) {
            std::string name = argv[i];
            if (name.rfind("--", 0) || !preset.count(name.substr(2)) || i + 1 == argc)
                die("unknown option, or one without a value: " + name);
            values[name.substr(2)] = argv[i + 1];
        }
    }
    std::string text(const std::string& name) const {
        auto entry = values.find(name);
        return entry == values.end() ? defaults.at(name) : entry->second;
    }
    double number(const std::string& name) const { return atof(text(name).c_str()); }
    ns_t ms(const std::string& name) const { return ns_t(number(name) * MS); }
};

template <class T>
inline void write_all(FILE* file, const std::vector<T>& rows) {
    if (!rows.empty() && fwrite(rows.data(), sizeof(T), rows.size(), file) != rows.size())
        die("records can't be written");
}
