/* test_arena.c - what an arena promises of the memory it hands out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/base/arena.h"

static void test_pieces_are_aligned_and_do_not_overlap(void **state)
{
    (void)state;
    struct arena a;
    unsigned char *pieces[600];
    arena_init(&a);
    for (size_t i = 0; i < 600; i++) { /* 180 KB: many blocks */
        pieces[i] = arena_alloc(&a, i);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
        memset(pieces[i], (int)i, i);
    }
    for (size_t i = 0; i < 600; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_int_equal(pieces[i][k], (unsigned char)i);
        }
    }
    arena_finish(&a);
}

static void test_large_piece_wastes_nothing_of_the_current_block(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    char *before = arena_alloc(&a, 64);
    char *large = arena_alloc(&a, 1000000);
    char *after = arena_alloc(&a, 64);
    assert_non_null(large);
    memset(large, 1, 1000000);
    assert_ptr_equal(after, before + 64);
    arena_finish(&a);
}

static void test_large_piece_may_come_first(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    char *large = arena_alloc(&a, 1000000);
    char *small = arena_alloc(&a, 10);
    memset(large, 1, 1000000);
    memset(small, 2, 10);
    assert_int_equal(large[999999], 1);
    arena_finish(&a);
}

static void test_reset_keeps_the_first_block(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    void *first = arena_alloc(&a, 100);
    for (int i = 0; i < 100; i++) {
        assert_non_null(arena_alloc(&a, 5000));
    }
    arena_reset(&a);
    assert_ptr_equal(arena_alloc(&a, 100), first);
    arena_finish(&a);
}

static void test_nothing_is_allocated_before_it_is_asked_for(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    assert_null(a.first);
    arena_reset(&a);
    assert_null(a.first);
    arena_finish(&a);
}

static void test_finished_arena_is_usable_again(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    assert_non_null(arena_alloc(&a, 10));
    arena_finish(&a);
    assert_non_null(arena_alloc(&a, 10));
    arena_finish(&a);
}

static void test_copy_ends_in_nul(void **state)
{
    (void)state;
    struct arena a;
    const char with_nul[] = {'a', '\0', 'b'};
    arena_init(&a);
    memset(arena_alloc(&a, 4000), 'x', 4000); /* what a copy lies in after the reset */
    arena_reset(&a);
    char *copy = arena_dup(&a, with_nul, 3);
    assert_memory_equal(copy, "a\0b", 4);
    assert_string_equal(arena_dup(&a, NULL, 0), "");
    arena_finish(&a);
}

static void test_impossible_size_gives_null(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 15));
    assert_null(arena_dup(&a, "", SIZE_MAX));
    assert_non_null(arena_alloc(&a, 1));
    arena_finish(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_are_aligned_and_do_not_overlap),
        cmocka_unit_test(test_large_piece_wastes_nothing_of_the_current_block),
        cmocka_unit_test(test_large_piece_may_come_first),
        cmocka_unit_test(test_reset_keeps_the_first_block),
        cmocka_unit_test(test_nothing_is_allocated_before_it_is_asked_for),
        cmocka_unit_test(test_finished_arena_is_usable_again),
        cmocka_unit_test(test_copy_ends_in_nul),
        cmocka_unit_test(test_impossible_size_gives_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
