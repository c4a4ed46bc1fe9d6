/* read.h - what the user wants: the command line, the environment, the configuration file. Steps (program.h). */
#pragma once

struct buf;
struct program;

/* Without the interpreter, so that what is plainly wrong is told at once; finds the environment that it is for, too. */
int read_command_line(struct program *p, struct buf *error);

/* The rest: which application is meant, and where it finds its modules. Interpreter held. */
int read_settings(struct program *p, struct buf *error);
