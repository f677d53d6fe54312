/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_EXPOSITION_FAST_CLASSES_H
#define PS_COMMON_EXPOSITION_FAST_CLASSES_H
/*
 * The classes of bytes that the engines tell apart. A byte belongs to the classes whose bits are
 * set in both tables, at its low and at its high half: each class is a rectangle of rows and
 * columns in the ASCII table. Bytes above ASCII are in none; the engines know them by their sign.
 *
 *   bit 0x01  row 3         columns 0-9   digits
 *   bit 0x02  rows 4 and 6  columns 1-f   A-O a-o
 *   bit 0x04  rows 5 and 7  columns 0-a   P-Z p-z
 *   bit 0x08  row 5         column  f     _
 *   bit 0x10  row 2         column  2     "
 *   bit 0x20  row 5         column  c     \
 *   bit 0x40  row 0         column  a     newline
 */
#define CLASS_DIGIT 0x01
#define CLASS_WORD  0x0f
#define CLASS_STOP  0x70

/* As arguments of _mm_setr_epi8. */
#define CLASSES_BY_LOW_HALF                                                                        \
	0x05, 0x07, 0x17, 0x07, 0x07, 0x07, 0x07, 0x07, 0x07, 0x07, 0x46, 0x02, 0x22, 0x02, 0x02,  \
		0x0a
#define CLASSES_BY_HIGH_HALF                                                                       \
	0x40, 0x00, 0x10, 0x01, 0x02, 0x2c, 0x02, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  \
		0x00

#endif
